"""How many threads a lane's runtime gets: decided here for all backends, so that none has a default of its own."""

import os

from backends.base import Key
from backends.keys import whole_number

THREADS = Key(whole_number(0, 1024), 0, "threads of the runtime; 0: one for each physical core that may be used")


def thread_count(wanted: int | None) -> int:
    """`wanted`, or when it is 0 or None one thread for each physical core that this process may run on."""
    return wanted or usable_cores()


def usable_cores() -> int:
    """Physical cores, or fewer where the process is held to fewer logical ones."""
    import psutil

    affinity = getattr(os, "sched_getaffinity", None)
    logical = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or logical, logical))
