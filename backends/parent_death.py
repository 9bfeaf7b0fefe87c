"""Processes that end with the one that started them, also when that one is killed and they sit in native code.

Linux: the kernel kills the child when the *thread* that spawned it ends, so spawn from one long-lived thread.
Windows: the parent puts the child into a job that ends when the parent's handle to it closes; not tried there yet.
Elsewhere: a small thread of the child looks once a second whether it still has its parent.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, MutableMapping

VARIABLE = "PHOTOFINISH_PARENT_PID"
POLL_S = 1.0
ORPHANED_EXIT = 70


def name_parent(environment: MutableMapping[str, str]) -> None:
    """Tell a child that is about to be started with `environment` who its parent is."""
    environment[VARIABLE] = str(os.getpid())


def die_with_parent() -> None:
    """To be called by the child, first of all. Does nothing in a process that was not started by `name_parent`."""
    parent = os.environ.pop(VARIABLE, "")
    if not parent:
        return
    if sys.platform == "linux":
        _ask_the_kernel(signal.SIGKILL)
    elif sys.platform != "win32":
        threading.Thread(target=_watch, args=(int(parent),), name="parent-watch", daemon=True).start()
    if sys.platform != "win32" and os.getppid() != int(parent):  # it died before the request was heard
        os._exit(ORPHANED_EXIT)


def _ask_the_kernel(death_signal: int) -> None:
    pr_set_pdeathsig = 1
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(ORPHANED_EXIT)


if sys.platform == "win32":
    from backends.job_object import tie_to_this_process as tie_to_this_process
else:

    def tie_to_this_process(pid: int) -> Callable[[], None]:
        """To be called by the parent after the start; returns what to call after the child's end. For Windows."""
        return lambda: None
