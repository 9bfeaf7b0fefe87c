"""What can run here: the probes' answers, from the cache where it holds, and seen from one model."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from backends.base import Availability, ModelFormat, Status
from backends.lane import parse_lane
from backends.prepare import is_prepared
from backends.probe import Probed, probe
from backends.probe_cache import cached_rows, store
from backends.registry import BACKENDS, backend_class

BUNDLED_MODEL = "pocket-phi3"


def availability(refresh: bool = False) -> Iterator[Probed]:
    """Every backend's rows: at once those that are known, then the others as their probes answer."""
    known = {} if refresh else cached_rows()
    yield from (Probed(name, rows) for name, rows in known.items())
    for probed in probe(name for name in BACKENDS if name not in known):
        with suppress(OSError):  # without a writable data folder, the next call probes again
            store([probed])
        yield probed


def for_model(probed: Probed, model: str) -> tuple[Availability, ...]:
    """The rows with `ready` turned into `needs preparation` where the backend could not load `model` at once."""
    if backend_class(probed.backend).format is ModelFormat.NONE:
        return probed.rows
    return tuple(_for_model(probed.backend, row, model) for row in probed.rows)


def _for_model(backend: str, row: Availability, model: str) -> Availability:
    lane = f"{backend}:{row.precision}:{row.device}"
    if row.status is not Status.READY or is_prepared(model, parse_lane(lane)):
        return row
    reason = f"{model} is not yet what it loads"
    return replace(row, status=Status.NEEDS_PREPARATION, reason=reason, command=prepare_command(model, lane))


def prepare_command(model: str, lane: str) -> str:
    """The command that prepares `model` for `lane`, quoted as the shell of this system wants it."""
    words = ["python", "-m", "backends", "prepare", "--model", model, "--lane", lane]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
