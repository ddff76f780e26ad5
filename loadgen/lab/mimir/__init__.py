"""The embedded Mimir."""
