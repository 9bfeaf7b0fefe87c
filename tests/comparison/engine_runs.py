"""Runs comparisons in tests and keeps what an observer is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.lane import parse_lane
from backends.models import resolve_model
from comparison.engine import Comparison
from comparison.lane_events import LaneEvent, LaneState, StateChanged, TokensArrived
from comparison.memory import free_bytes
from comparison.request import ComparisonRequest, Mode, Settings

PROMPT = "What is an NPU?"


@dataclass(slots=True)
class Told:
    """Everything an observer was told, per lane."""

    events: dict[int, list[LaneEvent]] = field(default_factory=dict)
    react: Callable[[int, LaneEvent], None] | None = None

    def __call__(self, index: int, event: LaneEvent) -> None:
        self.events.setdefault(index, []).append(event)
        if self.react is not None:
            self.react(index, event)

    def has_tokens(self, index: int) -> bool:
        """Whether the lane has said anything yet."""
        return any(isinstance(event, TokensArrived) for event in self.events.get(index, []))

    def states(self, index: int) -> list[LaneState]:
        """The states of a lane in order, repetitions left out."""
        states = [event.state for event in self.events[index] if isinstance(event, StateChanged)]
        return [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state]


def request(model: Path, *lanes: str, **changes: Any) -> ComparisonRequest:
    """A request with the settings named in `changes`, the others as usual."""
    settings = {name: changes.pop(name) for name in list(changes) if name in Settings.__dataclass_fields__}
    return ComparisonRequest(
        model=resolve_model(str(model)),
        lanes=tuple(parse_lane(lane) for lane in lanes),
        prompts=changes.pop("prompts", (PROMPT,)),
        settings=Settings(**settings),
        mode=Mode(changes.pop("mode", "race")),
        **changes,
    )


def run(wanted: ComparisonRequest, told: Told | None = None, free: Callable[[], int] = free_bytes) -> dict[str, Any]:
    """The JSON of the comparison `wanted`."""
    return asyncio.run(Comparison(wanted, told or Told(), free).run())
