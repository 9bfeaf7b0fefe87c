"""What is known of one run of one lane: which tokens came, and when. Everything shown is derived from it."""

from collections.abc import Iterable
from dataclasses import dataclass

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """The tokens of a run and when the runtime handed each over (`time.perf_counter_ns`), the stop token included.

    `t0_ns` is when the worker took up the request, `released_ns` when the comparison let its lanes start.
    """

    t0_ns: int
    token_ids: tuple[int, ...]
    times_ns: tuple[int, ...]
    prompt_tokens: int
    released_ns: int | None = None

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.times_ns):
            raise ValueError(f"{len(self.token_ids)} tokens have {len(self.times_ns)} times")

    @classmethod
    def from_seconds(cls, token_ids: Iterable[int], token_times_s: Iterable[float], prompt_tokens: int) -> "Timeline":
        """A timeline as exports and history keep it: times in seconds after t0, which becomes 0."""
        times_ns = tuple(round(time_s * NS_PER_S) for time_s in token_times_s)
        return cls(0, tuple(token_ids), times_ns, prompt_tokens)

    @property
    def token_times_s(self) -> tuple[float, ...]:
        """Seconds from t0 to each token."""
        return tuple((time_ns - self.t0_ns) / NS_PER_S for time_ns in self.times_ns)

    @property
    def started_s(self) -> float | None:
        """Seconds from the release of the lanes to this one's start: its skew in a race."""
        return None if self.released_ns is None else (self.t0_ns - self.released_ns) / NS_PER_S
