"""The child's side of `job.py`: one job in, events out, and a failure told in one sentence."""

import sys
import traceback
from collections.abc import Callable
from typing import Any

from backends.channel import Channel, take_over_standard_handles
from backends.parent_death import die_with_parent

LONGEST_REASON = 300


class Events:
    """What the child tells its parent."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def stage(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """What is being done now, and how much of it is done, from 0 to 1, where that is known."""
        self._channel.send({"event": "stage", "stage": stage, "fraction": fraction, "message": message})

    def made(self, index: int, **facts: Any) -> None:
        """The output `index` lies complete in its folder."""
        self._channel.send({"event": "made", "index": index, **facts})

    def failed(self, index: int, problem: Exception) -> None:
        """The output `index` could not be made; the others may still be."""
        traceback.print_exception(problem)
        self._channel.send({"event": "failed", "index": index, "message": in_one_sentence(problem)})


def run_child(work: Callable[[dict[str, Any], Events], None], prepare_environment: Callable[[], None]) -> None:
    """Do `work` with the job that the parent sends; a failure is told to the parent, its traceback goes to the log."""
    die_with_parent()
    channel = take_over_standard_handles()
    prepare_environment()
    job = channel.receive()
    if job is None:
        sys.exit(1)
    try:
        work(job, Events(channel))
    except Exception as problem:  # noqa: BLE001 - whatever a library raises becomes a sentence for the user
        traceback.print_exception(problem)
        channel.send({"event": "broken", "message": in_one_sentence(problem)})
        sys.exit(1)


def in_one_sentence(problem: BaseException) -> str:
    """The first sentence of what a library raised, without line breaks; its class where it says nothing."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    if "trust_remote_code" in text:
        return "it would have to run code that comes with the model, which is never done here"
    if len(text) > LONGEST_REASON:
        text = text.partition(". ")[0]
    if len(text) > LONGEST_REASON:
        text = text[: LONGEST_REASON - 1] + "…"
    return text.rstrip(".")
