"""The embedded Tempo."""
