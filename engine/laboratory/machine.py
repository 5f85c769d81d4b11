"""What figures were taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPU = Path("/proc/cpuinfo")
_STATM = Path("/proc/self/statm")


def machine() -> dict[str, str]:
    """Return processor, cores and Python."""
    lines = _CPU.read_text("utf-8").splitlines() if _CPU.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
    }


def resident_bytes() -> int:
    """Return the memory this process has touched; 0 where the system does not tell."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
