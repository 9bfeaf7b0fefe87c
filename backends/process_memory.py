"""The resident memory of this process, measured from inside it."""

import re
import sys
from pathlib import Path

import psutil


def rss_bytes() -> int:
    """Resident memory now."""
    return int(psutil.Process().memory_info().rss)


def peak_rss_bytes() -> int:
    """The most that was resident since the start of this program.

    Linux counts the parent's memory at the start into `ru_maxrss` (it survives vfork and exec), so it is asked elsewhere.
    """
    if sys.platform == "linux":
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else rss_bytes()
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
