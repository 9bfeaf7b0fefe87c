"""What the numbers mean: each metric of a run as a pure function of its timeline, None where it is undefined.

t0 is when the worker takes up the request, t1 to tn are the times of the n tokens; batch 1, seconds.
"""

from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from comparison.timeline import NS_PER_S, Timeline


def ttft_s(timeline: Timeline) -> float | None:
    """Time to first token, t1 - t0: prefill and the first token. Tokenisation is not in it."""
    return (timeline.times_ns[0] - timeline.t0_ns) / NS_PER_S if timeline.times_ns else None


def tpot_s(timeline: Timeline) -> float | None:
    """Time per output token after the first, (tn - t1) / (n - 1)."""
    times_ns = timeline.times_ns
    return (times_ns[-1] - times_ns[0]) / (len(times_ns) - 1) / NS_PER_S if len(times_ns) > 1 else None


def itl_s(timeline: Timeline) -> list[float]:
    """Inter-token latencies, t(i+1) - t(i): n - 1 of them."""
    return [(later - earlier) / NS_PER_S for earlier, later in pairwise(timeline.times_ns)]


def itl_percentile_s(timeline: Timeline, percent: float) -> float | None:
    """A percentile of the inter-token latencies, linearly interpolated."""
    latencies = itl_s(timeline)
    return float(np.percentile(latencies, percent)) if latencies else None


def prefill_tokens_per_s(timeline: Timeline) -> float | None:
    """Prompt tokens / TTFT."""
    return _rate(timeline.prompt_tokens, ttft_s(timeline))


def decode_tokens_per_s(timeline: Timeline) -> float | None:
    """1 / TPOT: the rate after the first token."""
    return _rate(1, tpot_s(timeline))


def e2e_s(timeline: Timeline) -> float | None:
    """End to end, tn - t0."""
    return (timeline.times_ns[-1] - timeline.t0_ns) / NS_PER_S if timeline.times_ns else None


def overall_tokens_per_s(timeline: Timeline) -> float | None:
    """n / E2E: prefill included, never to be mixed up with the decode rate."""
    return _rate(len(timeline.times_ns), e2e_s(timeline))


def _rate(count: int, seconds: float | None) -> float | None:
    return count / seconds if seconds else None


METRICS: MappingProxyType[str, Callable[[Timeline], float | None]] = MappingProxyType(
    {
        "ttft_s": ttft_s,
        "tpot_s": tpot_s,
        "itl_p50_s": lambda timeline: itl_percentile_s(timeline, 50),
        "itl_p95_s": lambda timeline: itl_percentile_s(timeline, 95),
        "itl_p99_s": lambda timeline: itl_percentile_s(timeline, 99),
        "prefill_tokens_per_s": prefill_tokens_per_s,
        "decode_tokens_per_s": decode_tokens_per_s,
        "overall_tokens_per_s": overall_tokens_per_s,
        "e2e_s": e2e_s,
    }
)
"""Every metric of a run under its name in exports."""


def metrics(timeline: Timeline) -> dict[str, float | None]:
    """All metrics of a run, as its entry in an export has them."""
    return {name: metric(timeline) for name, metric in METRICS.items()}
