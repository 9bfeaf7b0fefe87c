"""How far a preparation is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """`fraction` is of the stage, from 0 to 1, None where nobody knows; `elapsed_s` is since the preparation began."""

    stage: str
    fraction: float | None
    message: str
    elapsed_s: float


class Reporter:
    """Passes progress on, together with the time that went by, and carries the wish to stop."""

    def __init__(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._on_progress = on_progress
        self.should_stop = should_stop or (lambda: False)
        self._started = time.perf_counter()
        self._last: tuple[str, float | None, str] = ("checking", None, "")

    def stage(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Tell what is being done."""
        self._last = (stage, fraction, message)
        self.tick()

    def tick(self) -> None:
        """Tell the same again, for the time that goes by."""
        if self._on_progress is not None:
            self._on_progress(Progress(*self._last, elapsed_s=time.perf_counter() - self._started))

    def on_event(self, event: dict[str, Any]) -> None:
        """Tell what a job says of itself."""
        if event.get("event") == "stage":
            self.stage(event["stage"], event["fraction"], event["message"])
        elif not event:
            self.tick()
