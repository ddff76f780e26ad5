"""The embedded Grafana."""
