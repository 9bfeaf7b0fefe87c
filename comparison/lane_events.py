"""What happens in a lane, as it happens: the states of its panel, and the events that an observer of a comparison receives."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class LaneState(StrEnum):
    """The one state that a panel is in (`data-state`)."""

    UNAVAILABLE = "unavailable"
    PREPARING = "preparing"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    QUEUED = "queued"
    PREFILL = "prefill"
    STREAMING = "streaming"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The lane entered `state`, or got on within it. `fraction` is 0 to 1, or None when nobody knows."""

    state: LaneState
    message: str = ""
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run was taken up, `started_s` after its release, on prompt number `prompt` for the `repeat`-th time."""

    prompt: int
    repeat: int
    started_s: float


@dataclass(frozen=True, slots=True)
class TokensArrived:
    """New tokens: their ids, and their times in seconds since the run was taken up."""

    ids: tuple[int, ...]
    times_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended: `stop`, `length`, `cancelled` or `error`."""

    finish_reason: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to show beside the lane from now on."""

    kind: str
    message: str


LaneEvent = StateChanged | RunStarted | TokensArrived | RunFinished | Warned
Observer = Callable[[int, LaneEvent], None]
"""Called with the lane's index, in the engine's thread: it must return at once and must not raise."""
