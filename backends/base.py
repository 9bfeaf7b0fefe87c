"""What a backend is. Everything a runtime must offer stands here; `CONTRIBUTING.md` shows how to write one in an hour.

A backend module must be importable without its runtime: it names the runtime's modules in `runtime_modules`, the worker
imports those first, and methods import what they use.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Status(StrEnum):
    """Whether one backend x device x precision can run here."""

    READY = "ready"
    NEEDS_PREPARATION = "needs preparation"
    NOT_INSTALLED = "not installed"
    UNAVAILABLE = "unavailable"


class ModelFormat(StrEnum):
    """What a backend loads. Lanes with the same format, precision and recipe share one preparation."""

    NONE = "none"
    HUGGING_FACE = "huggingface"
    OPENVINO = "openvino"
    ONNX_GENAI = "onnx-genai"


@dataclass(frozen=True, slots=True)
class Availability:
    """One row of `python -m backends list`. `reason` is one line; `command` is the one command that helps, or empty."""

    device: str
    device_name: str
    precision: str
    status: Status
    reason: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """An option that a lane may set (`@name=value`). `parse` raises ValueError on a bad value; `default` None means unset."""

    parse: Callable[[str], Any]
    default: Any = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load. `model` is the prepared folder in the backend's own format; `cache` is a writable folder for compiled models."""

    model: Path
    precision: str
    device: str
    threads: int
    cache: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: the device's full name, and the precision of the arithmetic (not that of the weights)."""

    device_name: str
    compute_precision: str
    warnings: tuple[tuple[str, str], ...] = ()
    """Pairs (kind, message) to show beside the lane."""
    first_compile_s: float | None = None
    cached_compile_s: float | None = None


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to generate. Temperature 0 is greedy. `ignore_eos` goes on past `stop_ids` and leaves the logits untouched."""

    max_new_tokens: int
    stop_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Stamped(NamedTuple):
    """A token of a runtime that hands tokens over in a callback, stamped there (`time.perf_counter_ns`)."""

    token_id: int
    time_ns: int


class Backend(ABC):
    """A runtime that generates tokens. One instance lives in one worker process and holds one model."""

    name: ClassVar[str]
    label: ClassVar[str]
    """For people, e.g. "OpenVINO GenAI"."""
    format: ClassVar[ModelFormat]
    precisions: ClassVar[tuple[str, ...]]
    default_precision: ClassVar[str]
    default_device: ClassVar[str] = "CPU"
    keys: ClassVar[Mapping[str, Key]] = {}
    runtime_modules: ClassVar[tuple[str, ...]] = ()
    """Imported by the worker before anything else; also what the probe looks for."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distribution names whose versions are recorded."""
    install_command: ClassVar[str] = "pip install -r requirements.txt"
    compiles_per_length: ClassVar[bool] = False
    """Every new prompt length compiles anew: warm up at that length."""
    one_per_device: ClassVar[bool] = False
    """Two at once on one device do not work."""

    @classmethod
    @abstractmethod
    def probe(cls) -> list[Availability]:
        """What can run here. Runs in a subprocess, after `runtime_modules` were imported without an error."""

    @abstractmethod
    def load(self, request: LoadRequest) -> Loaded:
        """Load the model. Raises a `backends.errors.LaneError`, or whatever the runtime raises, which is passed on as it is."""

    @abstractmethod
    def generate(
        self, prompt_ids: list[int], options: GenerationOptions, should_stop: Callable[[], bool]
    ) -> Iterator[int | Stamped]:
        """Yield the new token ids, the stop id included, at most `max_new_tokens`; the prefill happens before the first.

        Ask `should_stop` at least once per token and end early when it says so. Each call starts from an empty KV cache.
        """

    def score(self, ids: list[int]) -> "np.ndarray":
        """Logits (float32, shape (len(ids), vocabulary)) of each next token under teacher forcing, for runtimes that give them."""
        raise TypeError(f"{self.label} gives no logits.")
