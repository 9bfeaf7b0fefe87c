"""The app's end of the pipes to one worker: bytes in, checked events out, always drained."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, cast

from backends.errors import ProtocolBroken
from backends.parent_death import tie_to_this_process
from backends.protocol import MAX_LINE_BYTES, encode
from comparison.worker_events import Event, read_event

STDIN, STDOUT = 0, 1
LINGER_S = 1.0
"""After the worker's end a child of its own may still hold its stdout; it is not waited for longer than this."""


class WorkerPipe(asyncio.SubprocessProtocol):
    """Reads on its own, so a worker never waits for the app. A worker that writes what is no message is killed at once."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._untie: Callable[[], None] = lambda: None
        self._events: asyncio.Queue[Event | ProtocolBroken | None] = asyncio.Queue()
        self._rest = bytearray()
        self._broken = False
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def transport(self) -> asyncio.SubprocessTransport:
        assert self._transport is not None
        return self._transport

    @property
    def half_line(self) -> bool:
        """Whether the last that was read is the beginning of a message."""
        return bool(self._rest)

    def tie(self) -> None:
        """See to it that the worker ends with the app. To be called once, right after the start."""
        try:
            self._untie = tie_to_this_process(self.transport.get_pid())
        except OSError:
            return  # it has ended already, or the system knows no nested jobs: then the end of its stdin ends it

    async def next(self) -> Event | ProtocolBroken | None:
        """The next event; the error after which nothing more is read; None, again and again, after the worker's end."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
        return event

    def send(self, message: dict[str, Any]) -> None:
        """Write a message; to a worker that has gone it is lost."""
        stdin = cast("asyncio.WriteTransport | None", self.transport.get_pipe_transport(STDIN))
        if stdin is not None and not stdin.is_closing():
            stdin.write(encode(message))

    def close_stdin(self) -> None:
        """What a worker reads as the wish to end."""
        stdin = self.transport.get_pipe_transport(STDIN)
        if stdin is not None:
            stdin.close()

    def signal_all(self, *, kill: bool) -> None:
        """End the worker and whatever it started. On Windows the job does the second part."""
        if self.transport.get_returncode() is not None:
            return
        try:
            if sys.platform == "win32":
                self.transport.kill()
            else:
                os.killpg(self.transport.get_pid(), signal.SIGKILL if kill else signal.SIGTERM)
        except ProcessLookupError:
            return  # it has ended, and asyncio has not heard of it yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if self._broken:
            return
        self._rest += data
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
            self._read(lines)
        if len(self._rest) > MAX_LINE_BYTES:
            self._break(ProtocolBroken(f"The worker wrote a line of more than {MAX_LINE_BYTES >> 20} MiB."))

    def process_exited(self) -> None:
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport.close()
        self._untie()
        self._events.put_nowait(None)
        self.ended.set()

    def _read(self, lines: list[bytearray]) -> None:
        try:
            for line in lines:
                self._events.put_nowait(read_event(bytes(line)))
        except ProtocolBroken as problem:
            self._break(problem)

    def _break(self, problem: ProtocolBroken) -> None:
        self._broken = True
        self._rest.clear()
        self._events.put_nowait(problem)
        self.signal_all(kill=True)
