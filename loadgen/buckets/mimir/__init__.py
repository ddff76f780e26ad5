"""Mimir's bucket: blocks of series."""
