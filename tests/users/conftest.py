"""The Locust users without Locust's patching of the whole interpreter, and without time that passes."""

from __future__ import annotations

import pytest

with pytest.MonkeyPatch.context() as before:
    # Locust patches the standard library when it is imported; processes that tests start must do so all the same.
    before.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    import loadgen.users  # noqa: F401
