"""What loadgen's own processes use, so that their weakness is never blamed on the stack."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from loadgen.model import StackSample

COMPONENT = "loadgen"
CPU = "process_cpu_seconds_total"
MEMORY = "process_resident_memory_bytes"


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (this one by default); 0 when it cannot be told."""
    try:
        pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        if pid is not None:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def self_samples(now_ns: int, label: str) -> tuple[StackSample, StackSample]:
    """CPU seconds and resident memory of this process."""
    cpu = os.times()
    return (
        StackSample(COMPONENT, CPU, label, now_ns, cpu.user + cpu.system),
        StackSample(COMPONENT, MEMORY, label, now_ns, float(resident_bytes())),
    )
