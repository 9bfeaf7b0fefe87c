"""The last probe of each backend, kept for as long as nothing changes that it depended on."""

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from backends.base import Availability
from backends.drivers import drivers
from backends.folders import data_folder
from backends.json_file import read_json, write_json
from backends.packages import package_versions
from backends.probe import Probed, rows_from_json
from backends.registry import BACKENDS, backend_class

SCHEMA = 1
PASSING_S = 300.0
"""How long an answer is kept that may be due to a slow machine."""


def cache_key(name: str) -> str:
    """A digest of what the probe of the backend `name` depends on: packages, Python, drivers, system, our own code."""
    depends_on = [SCHEMA, name, sorted(package_versions(*backend_class(name).packages).items()), *_surroundings()]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()


@cache
def _surroundings() -> tuple[object, ...]:
    own = [(file.name, file.stat().st_mtime_ns) for file in sorted(Path(__file__).parent.glob("*.py"))]
    return sys.version, sys.prefix, platform.platform(), sorted(drivers().items()), own


def cached_rows() -> dict[str, tuple[Availability, ...]]:
    """The rows of all backends whose last probe still holds. Empty when there is no readable cache."""
    rows = {}
    for name, entry in _read().items():
        try:
            if name in BACKENDS and entry["key"] == cache_key(name) and entry["until_s"] > time.time():
                rows[name] = rows_from_json(entry["rows"])
        except (KeyError, TypeError, ValueError):
            continue  # as good as no entry: it is written anew by the next probe
    return rows


def store(results: Iterable[Probed]) -> None:
    """Add `results` to the cache, replacing the file in one step. Raises OSError when it cannot be written."""
    entries = _read()
    for probed in results:
        until_s = 1e12 if probed.lasting else time.time() + PASSING_S
        rows = [asdict(row) for row in probed.rows]
        entries[probed.backend] = {"key": cache_key(probed.backend), "until_s": until_s, "rows": rows}
    write_json(_file(), {"schema": SCHEMA, "backends": entries})


def _file() -> Path:
    return data_folder() / "probe.json"


def _read() -> dict[str, Any]:
    try:
        content = read_json(_file())
    except OSError:  # there is no data folder, and none can be made
        return {}
    entries = content.get("backends") if content.get("schema") == SCHEMA else None
    return entries if isinstance(entries, dict) else {}
