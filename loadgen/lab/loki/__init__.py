"""The embedded Loki."""
