"""Tokens of a runtime that hands them over in a callback, as the iterator that a backend gives."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Event, Thread

from backends.base import Stamped

DRAIN_S = 0.01
"""Between two looks at what has come: waking for every token would take the interpreter from the callback."""


class CallbackTokens:
    """Runs a generation in a thread of its own; the runtime's callback calls `take`."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._came: deque[Stamped] = deque()
        self._first, self._over, self._abandoned = Event(), Event(), False
        self._problem: BaseException | None = None

    def take(self, token_id: int) -> bool:
        """Stamp a token. False when the generation shall end."""
        self._came.append(Stamped(token_id, time.perf_counter_ns()))
        if not self._first.is_set():
            self._first.set()
        return not (self._abandoned or self._should_stop())

    def iterate(self, generation: Callable[[], None]) -> Iterator[Stamped]:
        """The tokens while `generation` runs; raises what it raises. When closed, it has ended."""
        thread = Thread(target=self._run, args=[generation], name="generation", daemon=True)
        thread.start()
        try:
            self._first.wait()
            yield from self._drained()
            while not self._over.wait(DRAIN_S):
                yield from self._drained()
            yield from self._drained()
        finally:
            self._abandoned = True
            thread.join()
        if self._problem is not None:
            raise self._problem

    def _run(self, generation: Callable[[], None]) -> None:
        try:
            generation()
        except BaseException as problem:  # noqa: BLE001 - raised again where the tokens are read
            self._problem = problem
        finally:
            self._over.set()
            self._first.set()

    def _drained(self) -> Iterator[Stamped]:
        while self._came:
            yield self._came.popleft()
