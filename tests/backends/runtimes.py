"""Real runtimes inside a test process: each lane is loaded once there."""

import os
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

from backends.base import Backend, GenerationOptions, Loaded, LoadRequest, Stamped
from backends.lane import parse_lane

THREADS = 2
CALM_THREADS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
"""As a worker sets them. Without them two test processes with PyTorch slow each other down tenfold."""


@cache
def load(lane_text: str, model: Path, kept: Path, threads: int = THREADS) -> tuple[Backend, Loaded]:
    """The lane's backend with `model` loaded, the runtime imported first as in a worker."""
    lane = parse_lane(lane_text)
    os.environ |= CALM_THREADS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the runtimes' own, when they are imported
        for module in lane.cls.runtime_modules:
            import_module(module)
        backend = lane.cls()
        loaded = backend.load(LoadRequest(model, lane.precision, lane.device, threads, kept, lane.options))
    return backend, loaded


def ids_of(tokens: Iterable[int | Stamped]) -> list[int]:
    return [token.token_id if isinstance(token, Stamped) else int(token) for token in tokens]


def generate(
    backend: Backend,
    prompt_ids: list[int],
    max_new_tokens: int = 24,
    should_stop: Callable[[], bool] = lambda: False,
    ignore_eos: bool = True,
    **options: float | int | tuple[int, ...],
) -> list[int]:
    """The new ids. Here, unlike in the app, stop ids are ignored unless asked for."""
    chosen = GenerationOptions(max_new_tokens, ignore_eos=ignore_eos, **options)  # type: ignore[arg-type]
    return ids_of(backend.generate(prompt_ids, chosen, should_stop))
