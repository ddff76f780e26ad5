"""Synthetic telemetry load and SLO validation for Loki, Tempo and Mimir on S3, read back through Grafana."""

__version__ = "0.1.0"
