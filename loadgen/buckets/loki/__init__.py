"""Loki's bucket: chunks of streams."""
