"""The spread of a metric over repeats: median and a 95 % bootstrap interval."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 1_999
SEED = 20_240_423
LEAST_REPEATS = 3
"""With fewer values an interval would say nothing."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of `n` values; `low` and `high` bound its interval, None when there are too few values for one."""

    median: float | None
    low: float | None
    high: float | None
    n: int

    def as_json(self) -> dict[str, float | int | None]:
        """As exports have it."""
        return asdict(self)


def summary(values: Iterable[float | None]) -> Summary:
    """Summarise the values that are defined. The resampling is seeded: the same values give the same interval."""
    known = np.array([value for value in values if value is not None], dtype=float)
    if not known.size:
        return Summary(None, None, None, 0)
    median = float(np.median(known))
    if known.size < LEAST_REPEATS:
        return Summary(median, None, None, known.size)
    if np.ptp(known) == 0:
        return Summary(median, median, median, known.size)
    low, high = _interval(known)
    return Summary(median, low, high, known.size)


def _interval(values: np.ndarray) -> tuple[float, float]:
    from scipy.stats import bootstrap  # takes a second, which a start of the app need not wait for

    # Percentiles, because BCa is undefined where the median does not change when a value is left out.
    interval = bootstrap(
        (values,), np.median, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="percentile", rng=SEED
    ).confidence_interval
    return float(interval.low), float(interval.high)
