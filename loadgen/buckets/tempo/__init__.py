"""Tempo's bucket: blocks of traces."""
