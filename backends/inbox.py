"""What the app asks of a worker while it may be busy. Reading starts only after the load: see `backends.worker`."""

import os
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any

from backends.channel import Channel

CLOSE_GRACE_S = 2.0


class Inbox:
    """Requests to generate, in order, and the wish to stop, at once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._cancelled = 0
        self._closing = False
        threading.Thread(target=self._read, name="reader", daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """Wait for the next request to generate; None when the worker shall end."""
        return self._requests.get()

    def should_stop(self, request: int) -> bool:
        """Whether `request` was cancelled or the worker shall end."""
        return self._closing or self._cancelled == request

    def _read(self) -> None:
        while (message := self._receive()) is not None and message.get("op") != "close":
            if message.get("op") == "cancel":
                self._cancelled = message["request"]
            elif message.get("op") == "generate":
                self._requests.put(message)
        self._closing = True
        self._requests.put(None)
        time.sleep(CLOSE_GRACE_S)
        os._exit(0)  # the runtime does not come back

    def _receive(self) -> dict[str, Any] | None:
        try:
            return self._channel.receive()
        except (ValueError, OSError) as problem:
            print(f"The worker ends: {problem}", file=sys.stderr, flush=True)
            return None
