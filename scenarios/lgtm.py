"""The locustfile: logs, metrics, traces and dashboards against a Loki, Mimir, Tempo and Grafana.

    locust -f scenarios/lgtm.py                                   with the web UI
    locust -f scenarios/lgtm.py --headless -u 20 -r 20 -t 60s     without
    locust -f scenarios/lgtm.py --headless -t 60s --processes 2   over two processes

Users are shared out as the profile says (``--load-profile``); the target is ``--load-target`` or the local lab.
"""

from loadgen.users import DashboardViewer, LogShipper, MetricsAgent, TracedService, configure

__all__ = ["DashboardViewer", "LogShipper", "MetricsAgent", "TracedService"]

configure()
