"""Who sends traces."""

from __future__ import annotations

import gevent

from loadgen.kinds.traces.source import SDK_USER
from loadgen.model import NS, Signal
from loadgen.users.load import Load
from loadgen.users.pushing import PushingUser, stream_of, tell_of_push


class TracedService(PushingUser):
    """An instrumented service whose traces go to Tempo by OTLP; the first also sends through the OpenTelemetry SDK."""

    signal = Signal.TRACES

    def on_start(self) -> None:
        super().on_start()
        load = self._load
        if load.profile.traces.sdk_every > 0 and not load.sdk_started and load.worker == 0:
            load.sdk_started = True
            self._sdk = gevent.spawn(self._sdk_probe, load)

    def on_stop(self) -> None:
        sdk = getattr(self, "_sdk", None)
        if sdk is not None:
            sdk.kill(timeout=5)
            self._load.sdk_started = False

    def _sdk_probe(self, load: Load) -> None:
        every = max(1, round(load.profile.traces.sdk_every * NS / load.plan.traces.load.interval_ns))
        stream = stream_of(load, self.signal, SDK_USER, load.senders.sdk(), every)
        while not load.stopping:
            gevent.sleep(stream.wait_s())
            receipt = stream.step()
            tell_of_push(self.environment, receipt)
            load.probe(receipt)
