"""No ``OTEL_*`` variable decides what a probe sends: those of the surroundings belong to other programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clean_environment() -> Iterator[None]:
    """No ``OTEL_*`` variable is there while it lasts.

    The SDK and its exporters are imported and made in it; what they read then, they read never again.
    """
    hidden = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
