"""What is known about a lane and its runs when a comparison ends: the raw material of every export."""

from dataclasses import dataclass, field

from backends.errors import LaneError
from comparison.worker_events import Imported, ModelLoaded


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run of one prompt on one lane. `order` is its place in the sequence of the whole comparison: in a
    race all lanes of a round have the same, in solo each run its own."""

    prompt: int
    repeat: int
    order: int
    prompt_text: str
    prompt_ids: tuple[int, ...]
    tokenize_s: float
    max_new_tokens: int


@dataclass(slots=True)
class Run:
    """A run as it grows: token ids with their moments on the common clock. `released_ns` is when the lane was told to go."""

    plan: RunPlan
    released_ns: int
    t0_ns: int | None = None
    token_ids: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    finish_reason: str = "error"
    cpu_s: float | None = None
    rss_bytes: int | None = None

    @property
    def started_s(self) -> float | None:
        """Seconds from the release until the worker took the request up."""
        return None if self.t0_ns is None else (self.t0_ns - self.released_ns) / 1e9


@dataclass(slots=True)
class LaneRecord:
    """Facts of one lane over one comparison; what is None was never reached."""

    imported: Imported | None = None
    loaded: ModelLoaded | None = None
    weights_bytes: int | None = None
    warmup_s: float | None = None
    peak_rss_bytes: int | None = None
    error: LaneError | None = None
    cancelled: bool = False
    warnings: list[tuple[str, str]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def status(self) -> str:
        """`finished`, `failed`, `cancelled` or `unavailable`."""
        if self.error is not None:
            return "unavailable" if self.error.kind == "unavailable" else "failed"
        return "cancelled" if self.cancelled else "finished"
