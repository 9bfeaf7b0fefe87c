"""The facts of this machine that stand beside every measurement."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from backends.base import Status
from backends.packages import package_versions
from backends.probe_cache import cached_rows
from backends.registry import BACKENDS, backend_class


def machine_facts() -> dict[str, Any]:
    """The `machine` of a comparison's JSON. `devices` are those that the last probe found; empty before the first."""
    return {
        "cpu": cpu_name(),
        "cores": {"physical": psutil.cpu_count(logical=False), "logical": os.cpu_count()},
        "memory_bytes": psutil.virtual_memory().total,
        "os": platform.platform(),
        "python": platform.python_version(),
        "devices": [{"device": device, "name": name} for device, name in sorted(_devices())],
        "packages": package_versions(*(name for backend in BACKENDS for name in backend_class(backend).packages)),
    }


def _devices() -> set[tuple[str, str]]:
    return {
        (row.device, row.device_name)
        for backend, rows in cached_rows().items()
        for row in rows
        if row.device_name and row.status is not Status.UNAVAILABLE and backend_class(backend).runtime_modules
    }


def cpu_name() -> str:
    """The processor as its maker calls it, or the architecture where that cannot be read."""
    name = _windows_cpu() if sys.platform == "win32" else _mac_cpu() if sys.platform == "darwin" else _linux_cpu()
    return " ".join(name.split()) or platform.processor() or platform.machine()


def _linux_cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    names = (line.partition(":")[2] for line in text.splitlines() if line.startswith(("model name", "Model")))
    return next(names, "")


def _mac_cpu() -> str:
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _windows_cpu() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0])
    except OSError:
        return ""
