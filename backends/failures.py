"""The ways in which a runtime can end a lane, done on purpose: what `scripted` does for `@fail=`."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from backends.channel import PROTOCOL_FD

FOREVER_S = 3600


def fail(how: str) -> Iterator[int]:
    """Go wrong in the way `how`. What returns at all returns the ids to be yielded by way of failure."""
    return iter(_WAYS[how]() or ())


def _raise() -> None:
    raise ValueError("told to fail\nwith a second line that nobody should see")


def _exit() -> None:
    os._exit(3)


def _kill() -> None:
    if sys.platform == "win32":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _segfault() -> None:
    ctypes.string_at(0)


def _hang() -> None:
    time.sleep(FOREVER_S)


def _native_hang() -> None:
    """Sleep in native code that keeps the interpreter's lock, as some runtimes do for a whole prefill."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(FOREVER_S * 1000)
    else:
        ctypes.PyDLL(None).sleep(FOREVER_S)


def _out_of_memory() -> None:
    bytearray(1 << 62)


def _write(data: bytes) -> None:
    os.write(int(os.environ[PROTOCOL_FD]), data)


def _garbage() -> None:
    _write(b"\x00\xff no message at all\n")


def _half_line() -> None:
    _write(b'{"event":"tokens","request":1,"ids":[1,2')
    os._exit(0)


def _half_line_then_hang() -> None:
    _write(b'{"event":"tokens","request":1,"ids":[1,2')
    _hang()


def _endless_line() -> None:
    while True:
        _write(b"x" * 65536)


_WAYS: dict[str, Callable[[], list[int] | None]] = {
    "raise": _raise,
    "exit": _exit,
    "abort": os.abort,
    "kill": _kill,
    "segfault": _segfault,
    "hang": _hang,
    "native-hang": _native_hang,
    "oom": _out_of_memory,
    "garbage": _garbage,
    "half-line": _half_line,
    "half-line-hang": _half_line_then_hang,
    "endless-line": _endless_line,
    "nan": lambda: [float("nan")],  # type: ignore[list-item]
    "negative": lambda: [-1],
}
FAILURES = tuple(_WAYS)
LOAD_FAILURES = ("load-raise", "load-exit", "load-segfault", "load-hang", "load-oom", "load-kill")
