"""The lane grammar: `backend[:precision[:device]][@key=value]...`.

One for the command line, permalinks, exports and the API. A value is percent-encoded where it has `@`, `%`, spaces or
characters that are special in addresses; `parse_lane(str(lane)) == lane` for every lane.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from backends.base import Backend, Key
from backends.registry import BACKENDS, backend_class

MAX_LANE_LENGTH = 1000
EVERY_BACKEND_KEYS: Mapping[str, Key] = {
    "from": Key(str, doc="a ready-made export to load instead of preparing one: a folder, or a catalogue's hub id"),
}
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int4", "unknown")


class LaneSyntaxError(ValueError):
    """The text is no lane; the message says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One contender. `options` holds what the text set, parsed; the backend's defaults are not in it."""

    backend: str
    precision: str
    device: str
    options: Mapping[str, Any] = field(hash=False)

    @property
    def cls(self) -> type[Backend]:
        return backend_class(self.backend)

    def __str__(self) -> str:
        """The canonical form: all three parts, options sorted by name, values percent-encoded where they must be."""
        options = "".join(f"@{name}={_written(value)}" for name, value in sorted(self.options.items()))
        return f"{self.backend}:{self.precision}:{self.device}{options}"

    def option(self, name: str) -> Any:
        """The value set for `name`, or the backend's default."""
        return self.options.get(name, option_keys(self.cls)[name].default)


def option_keys(cls: type[Backend]) -> dict[str, Key]:
    """The options that a lane of `cls` may set: its own and those of every backend."""
    return {**EVERY_BACKEND_KEYS, **cls.keys}


def _written(value: Any) -> str:
    text = repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return quote(text, safe="/:,+.\\~!$&'()*;=?[]{}|^<>-_")


def parse_lane(text: str) -> Lane:
    """Read a lane. Raises LaneSyntaxError with one sentence that says what is wrong and what would be right."""
    if len(text) > MAX_LANE_LENGTH:
        raise LaneSyntaxError(f"A lane has at most {MAX_LANE_LENGTH} characters; this one has {len(text)}.")
    head, *settings = text.strip().split("@")
    name, *parts = head.split(":", 2)
    if name not in BACKENDS:
        raise LaneSyntaxError(f"There is no backend {name!r}. Backends: {', '.join(BACKENDS)}.")
    cls = backend_class(name)
    options = dict(_setting(cls, setting) for setting in settings)
    if len(options) < len(settings):
        raise LaneSyntaxError(f"The lane {text!r} sets an option twice.")
    ready_made = "from" in options
    precision = parts[0] if parts and parts[0] else "unknown" if ready_made else cls.default_precision
    allowed = (*cls.precisions, "unknown") if ready_made else cls.precisions
    if precision not in allowed:
        raise LaneSyntaxError(f"{name} has no precision {precision!r}. It has: {', '.join(allowed)}.")
    device = parts[1] if len(parts) > 1 and parts[1] else cls.default_device
    if not device.isprintable() or " " in device:
        raise LaneSyntaxError(f"The device {device!r} has spaces or unprintable characters.")
    lane = Lane(name, precision, device, MappingProxyType(options))
    if len(str(lane)) > MAX_LANE_LENGTH:
        raise LaneSyntaxError(f"Written out, the lane has {len(str(lane))} characters; it may have {MAX_LANE_LENGTH}.")
    return lane


def _setting(cls: type[Backend], text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    keys = option_keys(cls)
    if name not in keys:
        raise LaneSyntaxError(f"{cls.name} has no option {name!r}. Its options: {', '.join(sorted(keys))}.")
    if not equals or not value:
        raise LaneSyntaxError(f"The option {name!r} needs a value: @{name}=VALUE.")
    try:
        return name, keys[name].parse(_read(value))
    except ValueError as problem:
        raise LaneSyntaxError(f"{value!r} is no value for @{name}: {problem}.") from problem


def _read(value: str) -> str:
    try:
        text = unquote(value, errors="strict")
    except UnicodeDecodeError as problem:
        raise ValueError("its percent-encoding is not UTF-8") from problem
    if not text.isprintable():
        raise ValueError("it has unprintable characters")
    return text
