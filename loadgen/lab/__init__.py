"""The local stack: S3, and small servers that speak the wire formats of Loki, Tempo, Mimir and Grafana."""
