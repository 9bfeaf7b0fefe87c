"""Tokens on their way to the app: the first at once, then in batches, without holding up the runtime."""

import threading
import time
from typing import Any

from backends.channel import Channel
from backends.protocol import FLUSH_NS

OVERDUE_NS = FLUSH_NS + 2_000_000
"""A token that waited this long is sent by the second thread: the runtime is slower than usual with the next."""


class TokenBatches:
    """Sends all that a worker has to say.

    `add` costs well under a microsecond when it does not send. The lock is held while something is written, so that lines
    do not mix; `add` never waits for it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._pending: list[tuple[int, int]] = []
        self._sent_ns = 0
        self._request = 0
        threading.Thread(target=self._send_overdue, name="sender", daemon=True).start()

    def begin(self, request: int, t0_ns: int) -> None:
        """Announce that a request was taken up; its first token will be sent at once."""
        self.send({"event": "started", "request": request, "t0_ns": t0_ns})
        self._request = request
        self._sent_ns = 0

    def add(self, token_id: int, time_ns: int) -> None:
        """Take a token over, and send what waits when the last sending is long enough ago."""
        self._pending.append((token_id, time_ns))
        if time_ns - self._sent_ns >= FLUSH_NS:
            if self._lock.acquire(blocking=False):
                try:
                    self._flush()
                finally:
                    self._lock.release()
        elif not self._wake.is_set():
            self._wake.set()

    def send(self, message: dict[str, Any]) -> None:
        """Send what waits, then `message`."""
        with self._lock:
            self._flush()
            self._channel.send(message)

    def _flush(self) -> None:
        batch = self._pending[:]
        if not batch:
            return
        del self._pending[: len(batch)]
        self._sent_ns = time.perf_counter_ns()
        ids, times_ns = zip(*batch, strict=True)
        self._channel.send({"event": "tokens", "request": self._request, "ids": ids, "times_ns": times_ns})

    def _send_overdue(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(max(0, self._sent_ns + OVERDUE_NS - time.perf_counter_ns()) / 1e9)
            with self._lock:
                if time.perf_counter_ns() - self._sent_ns >= OVERDUE_NS:
                    self._flush()
            self._wake.clear()
            if self._pending:  # also when it came between the two lines above
                self._wake.set()
