"""A worker's end of the pipes to the app, kept apart from the standard handles that libraries print to."""

import os
import sys
from typing import Any

from backends.protocol import MAX_LINE_BYTES, decode, encode

PROTOCOL_FD = "PHOTOFINISH_PROTOCOL_FD"
"""Names the descriptor of the messages to the app, for the `scripted` backend, which can be told to misuse it."""
CHUNK_BYTES = 65536
APP_IS_GONE_EXIT = 70


class Channel:
    """Messages over two file descriptors. One thread may receive; who sends holds a lock of their own."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._received = bytearray()

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the app has closed its end. Raises ValueError when it is no message."""
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            chunk = os.read(self._read_fd, CHUNK_BYTES)
            if not chunk:
                return None
            self._received += chunk
            if len(self._received) > MAX_LINE_BYTES:
                raise ValueError(f"a message of more than {MAX_LINE_BYTES} bytes")
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return decode(line)

    def send(self, message: dict[str, Any]) -> None:
        """Write one message. Ends the process when the app has gone: there is nobody left to work for."""
        rest = memoryview(encode(message))
        try:
            while rest:
                rest = rest[os.write(self._write_fd, rest) :]
        except OSError:
            os._exit(APP_IS_GONE_EXIT)


def take_over_standard_handles() -> Channel:
    """Keep stdin and stdout for the messages; from now on 0 is the null device and 1 is stderr, for native code too."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if sys.platform == "win32":
        _point_windows_handles()
        _set_binary(read_fd, write_fd)
    os.environ[PROTOCOL_FD] = str(write_fd)
    return Channel(read_fd, write_fd)


def _point_windows_handles() -> None:
    import ctypes
    import msvcrt

    standard_input, standard_output = -10, -11
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined, unused-ignore]
    kernel.SetStdHandle.argtypes = (ctypes.c_ulong, ctypes.c_void_p)
    for which, fd in ((standard_input, 0), (standard_output, 1)):
        handle = msvcrt.get_osfhandle(fd)  # type: ignore[attr-defined, unused-ignore]
        kernel.SetStdHandle(which & 0xFFFFFFFF, handle)


def _set_binary(*fds: int) -> None:
    import msvcrt

    for fd in fds:
        msvcrt.setmode(fd, os.O_BINARY)  # type: ignore[attr-defined, unused-ignore]
