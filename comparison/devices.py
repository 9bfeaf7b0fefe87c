"""Which lanes of a race compete for the same piece of hardware."""

import re
from collections.abc import Sequence

from backends.lane import Lane

PROCESSORS = ("CPU", "GPU", "NPU")


def hardware(lane: Lane) -> frozenset[str]:
    """The processors that a lane may use, as "CPU", "NPU" or "GPU.n"; `AUTO` may use any.

    DirectML's adapter n and OpenVINO's GPU.n are taken for the same hardware: on a machine with one GPU they are, and on
    another a mark too many misleads less than one too few.
    """
    device = lane.device.upper()
    if device == "DML":
        return frozenset({f"GPU.{lane.options.get('adapter', 0)}"})
    _, colon, parts = device.partition(":")
    names = parts.split(",") if colon else [device]
    return frozenset(part for name in names for part in _processors(name.strip()))


def _processors(name: str) -> Sequence[str]:
    if name in ("AUTO", "MULTI", "HETERO", "BATCH"):
        return ("CPU", "GPU.0", "NPU")
    name = re.sub(r"\(.*\)$", "", name).lstrip("-")
    return ("GPU.0",) if name == "GPU" else (name,)


def sharing(lanes: Sequence[Lane]) -> list[list[int]]:
    """For each lane the indices of the others that share hardware with it when all run at once."""
    used = [hardware(lane) for lane in lanes]
    return [
        [other for other, theirs in enumerate(used) if other != index and theirs & mine]
        for index, mine in enumerate(used)
    ]
