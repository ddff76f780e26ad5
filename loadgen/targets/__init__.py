"""Clients of what is out there: pushing to the components, reading through Grafana, checking that all is reachable."""
