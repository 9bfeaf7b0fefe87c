"""The drivers and devices that the operating system knows, read in milliseconds and without any runtime.

They are part of the probe cache's key, so a new driver or an added device leads to a new probe, and of the doctor's report.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

DEVICE_FOLDERS = ("/dev/dri", "/dev/accel")
MODULES = ("i915", "xe", "intel_vpu", "amdgpu", "amdxdna", "nvidia")
"""Linux kernel modules of GPUs and NPUs."""
CLASSES = {
    "GPU": r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}",
    "NPU": r"SYSTEM\CurrentControlSet\Control\Class\{f01a9d53-3ff6-48d2-9f97-c8a7004be10c}",
}
"""Windows device classes: display adapters and compute accelerators."""


def drivers() -> dict[str, str]:
    """What is there, by name: a driver's version, "loaded" where it tells none, "present" for a device node."""
    return dict(_windows() if sys.platform == "win32" else _linux() if sys.platform == "linux" else ())


def _linux() -> Iterator[tuple[str, str]]:
    for folder in map(Path, DEVICE_FOLDERS):
        yield from ((str(node), "present") for node in _entries(folder) if not node.is_dir())
    for name in MODULES:
        module = Path("/sys/module", name)
        if module.is_dir():
            yield name, _text(module / "version") or "loaded"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _windows() -> Iterator[tuple[str, str]]:
    if sys.platform != "win32":
        return
    import winreg

    for kind, path in CLASSES.items():
        for index in range(16):
            try:
                with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{path}\{index:04}") as key:
                    name, version = (winreg.QueryValueEx(key, value)[0] for value in ("DriverDesc", "DriverVersion"))
            except OSError:
                continue
            yield f"{kind} {name}", str(version)
