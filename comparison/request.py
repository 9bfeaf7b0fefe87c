"""What a comparison is asked to do: model, lanes, prompts and settings, checked where they enter."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backends.base import GenerationOptions
from backends.lane import Lane
from backends.models import Model

MAX_LANES = 16
MAX_PROMPTS = 1000
MAX_REPEATS = 1000
MAX_NEW_TOKENS = 1_000_000
MAX_PROMPT_CHARACTERS = 1_000_000


class BadRequest(ValueError):
    """The request cannot be run as it stands; the message is one sentence that says what to change."""


class Mode(StrEnum):
    """`race` runs all lanes at once, `solo` one after the other."""

    RACE = "race"
    SOLO = "solo"


@dataclass(frozen=True, slots=True)
class Settings:
    """How every lane generates. `max_new_tokens` is the same cap for all; temperature 0 is greedy; `timeout_s` bounds one run."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    ignore_eos: bool = False
    system: str = ""
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_new_tokens <= MAX_NEW_TOKENS:
            raise BadRequest(
                f"The number of new tokens must be from 1 to {MAX_NEW_TOKENS:,}, not {self.max_new_tokens}."
            )
        if not 0 <= self.temperature <= 10:
            raise BadRequest(f"The temperature must be from 0 (greedy) to 10, not {self.temperature:g}.")
        if not 0 < self.top_p <= 1:
            raise BadRequest(f"top-p must be above 0 and at most 1, not {self.top_p:g}.")
        if not 0 <= self.seed < 2**31:
            raise BadRequest(f"The seed must be from 0 to {2**31 - 1}, not {self.seed}.")
        if not 0.1 <= self.timeout_s <= 86_400:
            raise BadRequest(f"The timeout must be from 0.1 to 86,400 seconds, not {self.timeout_s:g}.")

    def generation(self, max_new_tokens: int, stop_ids: tuple[int, ...], repeat: int = 0) -> GenerationOptions:
        """These settings for one prompt with room for `max_new_tokens`. Each repeat has a seed of its own, the same for all lanes."""
        return GenerationOptions(
            max_new_tokens, stop_ids, self.ignore_eos, self.temperature, self.top_p, self.seed + repeat
        )

    def as_json(self) -> dict[str, Any]:
        """The `options` of a comparison's JSON."""
        names = ("max_new_tokens", "temperature", "top_p", "seed", "ignore_eos", "system")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """One comparison: every prompt runs `repeats` times on every lane."""

    model: Model
    lanes: tuple[Lane, ...]
    prompts: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    mode: Mode = Mode.RACE
    repeats: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.lanes) <= MAX_LANES:
            raise BadRequest(f"A comparison has 1 to {MAX_LANES} lanes, not {len(self.lanes)}.")
        if not 1 <= len(self.prompts) <= MAX_PROMPTS:
            raise BadRequest(f"A comparison has 1 to {MAX_PROMPTS:,} prompts, not {len(self.prompts)}.")
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise BadRequest(f"The number of repeats must be from 1 to {MAX_REPEATS:,}, not {self.repeats}.")
        for prompt in self.prompts:
            if not prompt.strip():
                raise BadRequest("The prompt is empty. Type something for the models to answer.")
            if len(prompt) > MAX_PROMPT_CHARACTERS:
                raise BadRequest(
                    f"A prompt has at most {MAX_PROMPT_CHARACTERS:,} characters; this one has {len(prompt):,}."
                )
