"""Options of the whole suite: they must be known before any test is collected."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        default="embedded",
        metavar="STACK",
        help="what tests/conformance asks: embedded (default), native (real servers from PATH), or addresses: "
        "loki=http://…,tempo=http://…,otlp_http=http://…,mimir=http://…",
    )
