"""The stages in which the bundled model is trained, read from `stages.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True)
class Stage:
    """One corpus and the step at which training on it ends. `kinds` and `tasks` are weights.

    The learning rate is that of a training of `schedule_steps` steps.
    """

    until_step: int
    schedule_steps: int
    samples: int
    seed: int
    kinds: Mapping[str, float]
    tasks: Mapping[str, float]


@cache
def stages() -> tuple[Stage, ...]:
    """All stages in order."""
    entries = yaml.safe_load((Path(__file__).parent / "stages.yaml").read_text(encoding="utf-8"))
    return tuple(Stage(**entry) for entry in entries)
