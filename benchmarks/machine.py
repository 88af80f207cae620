"""What the figures were measured on, without its name and without its paths."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path


def facts(folder: Path, megabytes: int) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{_field('/proc/cpuinfo', 'model name')}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "Python": platform.python_version(),
        "big files": f"{megabytes:,} MB",
    }


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _file_system(folder: Path) -> str:
    """The type of the innermost mount that holds the folder."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(holding)[1] if holding else "unknown"


def without_paths(text: str) -> str:
    return re.sub(r"(?<![\w.])/[^\s'\"]*/", "", text)[:160]
