"""Under which prefixes of a bucket the run's data can be: one for each tenant."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.buckets.asking import Asking


class Tenants:
    """Where tenants' data lies, until the run's was found at one of these places, and then only there.

    Args:
        asking: the bucket.
        tenant: the configured one; empty, or not there: whatever is there.
        prefix: what comes before tenants; empty: nothing, or a prefix that shows up by itself.
        never: names in the root that are no tenants.
    """

    def __init__(self, asking: Asking, tenant: str, prefix: str = "", never: frozenset[str] = frozenset()) -> None:
        self._asking = asking
        self._tenant = tenant
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._never = never
        self._settled = bool(tenant and prefix)
        self._deeper: list[str] = []
        self.names: tuple[str, ...] = (f"{self._prefix}{tenant}",) if self._settled else ()

    def look(self) -> Iterator[int]:
        """Look at the root once more, if that can still tell something; yields rows after each request."""
        if self._settled:
            return
        names: list[str] = []
        for page in self._asking.pages(self._prefix, delimiter="/"):
            names += [prefix.removesuffix("/") for prefix in page.prefixes]
            yield page.rows
        names = [name for name in names if name and name not in self._never]
        if not self._tenant:
            self.names = (*names, *self._deeper)
        elif f"{self._prefix}{self._tenant}" in names:
            self.settle(f"{self._prefix}{self._tenant}")
        else:
            # Under a prefix, or a component without tenants keeps everybody's data in one place.
            self.names = (*names, *(f"{name}/{self._tenant}" for name in names))

    def deeper(self, tenant: str, name: str) -> None:
        """Under what was taken for a tenant lies something that may be one: the first was a prefix."""
        place = f"{tenant}/{name}"
        if not self._settled and not self._tenant and "/" not in tenant and place not in self._deeper:
            self._deeper.append(place)

    def settle(self, tenant: str) -> None:
        """The run's data was found here."""
        self._settled, self.names = True, (tenant,)
