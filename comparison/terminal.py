"""Live progress of a comparison on a terminal: a line a lane. Elsewhere a line for each new state, on stderr."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from backends.lane import Lane
from comparison.lane_events import LaneEvent, LaneState, Observer, RunStarted, StateChanged, TokensArrived, Warned

STYLES = {
    LaneState.FAILED: "red",
    LaneState.UNAVAILABLE: "red",
    LaneState.FINISHED: "green",
    LaneState.CANCELLED: "yellow",
}


@dataclass(slots=True)
class LaneLine:
    """What a lane's line shows of its current run."""

    lane: str
    state: LaneState = LaneState.QUEUED
    message: str = ""
    run: str = ""
    tokens: int = 0
    first_s: float = 0.0
    last_s: float = 0.0

    def take(self, event: LaneEvent) -> None:
        """Follow `event`."""
        if isinstance(event, StateChanged):
            done = "" if event.fraction is None else f" {event.fraction:.0%}"
            self.state, self.message = event.state, event.message + done
        elif isinstance(event, RunStarted):
            self.run, self.tokens = f"prompt {event.prompt + 1}, repeat {event.repeat + 1}", 0
        elif isinstance(event, TokensArrived):
            self.first_s = event.times_s[0] if self.tokens == 0 else self.first_s
            self.tokens, self.last_s = self.tokens + len(event.ids), event.times_s[-1]

    @property
    def speed(self) -> str:
        """Decode rate of the current run so far."""
        span_s = self.last_s - self.first_s
        return f"{(self.tokens - 1) / span_s:,.1f} tok/s" if self.tokens > 1 and span_s > 0 else ""


def _table(lines: Sequence[LaneLine]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for line in lines:
        count = f"{line.tokens} tokens" if line.tokens else ""
        cells = (line.lane, Text(line.state, STYLES.get(line.state, "")), count, line.speed, line.message or line.run)
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return table


@contextmanager
def live_progress(lanes: Sequence[Lane]) -> Iterator[Observer]:
    """Yields the observer that a comparison tells; the lines go to stderr."""
    console = Console(stderr=True)
    lines = [LaneLine(str(lane)) for lane in lanes]
    if not console.is_terminal:
        yield _printing(lines)
        return
    with Live(console=console, get_renderable=lambda: _table(lines), refresh_per_second=8, transient=True):
        yield lambda index, event: lines[index].take(event)


def _printing(lines: list[LaneLine]) -> Observer:
    def observe(index: int, event: LaneEvent) -> None:
        line = lines[index]
        before = (line.state, line.message)
        line.take(event)
        if isinstance(event, Warned):
            print(f"{line.lane}  warning: {event.message}", file=sys.stderr)
        elif isinstance(event, StateChanged) and (line.state, line.message) != before and event.fraction is None:
            print(f"{line.lane}  {line.state}  {line.message}".rstrip(), file=sys.stderr)

    return observe
