"""What a worker says, checked: every field has its type before anybody uses it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from backends.errors import ERRORS, LaneError, ProtocolBroken
from backends.protocol import decode

FINISH_REASONS = ("stop", "length", "cancelled")
MAX_WORDS = 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Imported:
    """The runtime is imported; `rss_bytes` is the worker's memory before any model."""

    pid: int
    seconds: float
    rss_bytes: int
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The model is loaded; see `backends.base.Loaded`."""

    seconds: float
    rss_bytes: int
    device_name: str
    compute_precision: str
    warnings: tuple[tuple[str, str], ...]
    first_compile_s: float | None
    cached_compile_s: float | None


@dataclass(frozen=True, slots=True)
class Started:
    """A request was taken up at `t0_ns`."""

    request: int
    t0_ns: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The next tokens of a request, each with the moment when the runtime handed it over."""

    request: int
    ids: tuple[int, ...]
    times_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A request ended. The figures are None when the worker had to be ended to stop it."""

    request: int
    finish_reason: str
    cpu_s: float | None = None
    rss_bytes: int | None = None
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed, or the load when `request` is None."""

    request: int | None
    kind: str
    message: str

    @property
    def error(self) -> LaneError:
        return ERRORS[self.kind](self.message)


Event = Imported | ModelLoaded | Started | Tokens | Finished | Failed


def read_event(line: bytes) -> Event:
    """The event of one line. Raises ProtocolBroken, quoting what is wrong, when it is none."""
    try:
        message = decode(line)
        event: Event = _READERS[message["event"]](message)
    except (KeyError, TypeError, ValueError) as problem:
        what = f"lacks {problem}" if isinstance(problem, KeyError) else str(problem)
        raise ProtocolBroken(f"The worker wrote something that is no message of ours: {what}.") from problem
    return event


def _imported(message: dict[str, Any]) -> Imported:
    packages = message["packages"]
    if not isinstance(packages, dict) or not all(isinstance(version, str) for version in packages.values()):
        raise ValueError(f"packages {packages!r:.80}")
    return Imported(_whole(message["pid"]), _number(message["seconds"]), _whole(message["rss_bytes"]), dict(packages))


def _model_loaded(message: dict[str, Any]) -> ModelLoaded:
    return ModelLoaded(
        seconds=_number(message["seconds"]),
        rss_bytes=_whole(message["rss_bytes"]),
        device_name=_text(message["device_name"]),
        compute_precision=_text(message["compute_precision"]),
        warnings=tuple((_text(kind), _text(words)) for kind, words in message["warnings"]),
        first_compile_s=_or_none(_number, message["first_compile_s"]),
        cached_compile_s=_or_none(_number, message["cached_compile_s"]),
    )


def _started(message: dict[str, Any]) -> Started:
    return Started(_whole(message["request"]), _whole(message["t0_ns"]))


def _tokens(message: dict[str, Any]) -> Tokens:
    ids, times_ns = _wholes(message["ids"]), _wholes(message["times_ns"])
    if len(ids) != len(times_ns):
        raise ValueError(f"{len(ids)} ids with {len(times_ns)} times")
    if not ids:
        raise ValueError("no tokens")
    if any(later < earlier for earlier, later in pairwise(times_ns)):
        raise ValueError("times that go back")
    return Tokens(_whole(message["request"]), ids, times_ns)


def _finished(message: dict[str, Any]) -> Finished:
    if message["finish_reason"] not in FINISH_REASONS:
        raise ValueError(f"finish reason {message['finish_reason']!r:.80}")
    return Finished(
        _whole(message["request"]),
        message["finish_reason"],
        _number(message["cpu_s"]),
        _whole(message["rss_bytes"]),
        _whole(message["peak_rss_bytes"]),
    )


def _failed(message: dict[str, Any]) -> Failed:
    if message["kind"] not in ERRORS:
        raise ValueError(f"kind {message['kind']!r:.80}")
    words = " ".join(_text(message["message"]).split())
    return Failed(_or_none(_whole, message["request"]), message["kind"], words[:MAX_WORDS])


_READERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "imported": _imported,
    "loaded": _model_loaded,
    "started": _started,
    "tokens": _tokens,
    "finished": _finished,
    "failed": _failed,
}


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.80} where a whole number belongs")
    return value


def _wholes(values: object) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{values!r:.80} where a list belongs")
    return tuple(_whole(value) for value in values)


def _number(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):  # type: ignore[operator]
        raise ValueError(f"{value!r:.80} where a number belongs")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} where words belong")
    return value


def _or_none(read: Callable[[object], T], value: object) -> T | None:
    return None if value is None else read(value)
