"""Does a worker's memory keep growing from run to run? Some runtimes are known to lose memory with every generation."""

from dataclasses import dataclass, field
from itertools import pairwise

RUNS_IN_A_ROW = 3
LEAST_GROWTH_BYTES = 256 * 1024**2
LEAST_GROWTH_SHARE = 0.2


@dataclass(slots=True)
class MemoryGrowth:
    """Watches the resident memory of one worker at the end of each run."""

    loaded_bytes: int = 0
    after_runs_bytes: list[int] = field(default_factory=list)

    def loaded(self, rss_bytes: int) -> None:
        """A worker was loaded and has `rss_bytes`; what was seen before is forgotten."""
        self.loaded_bytes = rss_bytes
        self.after_runs_bytes.clear()

    def keeps_growing(self, rss_bytes: int) -> bool:
        """Whether memory grew in each of the last runs and is now well above what it was after the first run.

        The first run is the measure: caches and buffers that fill once are no leak.
        """
        seen = self.after_runs_bytes
        seen.append(rss_bytes)
        last = seen[-RUNS_IN_A_ROW - 1 :]
        rising = len(last) > RUNS_IN_A_ROW and all(later > earlier for earlier, later in pairwise(last))
        return rising and rss_bytes - seen[0] > max(LEAST_GROWTH_BYTES, LEAST_GROWTH_SHARE * self.loaded_bytes)

    def described(self, rss_bytes: int) -> str:
        """One sentence with the figures."""
        runs, first = len(self.after_runs_bytes), self.after_runs_bytes[0]
        return f"Memory grew from {first / 1e9:.2f} GB to {rss_bytes / 1e9:.2f} GB over {runs} runs."
