"""Scripted (no model): tokens at a chosen pace, and failures on demand, for tests and stress. Deterministic.

Tokens are due at absolute moments, so the pace does not drift: token i at prefill + i/rate (+ jitter) after the start.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any, ClassVar

from backends.base import Availability, Backend, GenerationOptions, Key, Loaded, LoadRequest, ModelFormat, Status
from backends.failures import FAILURES, LOAD_FAILURES, fail
from backends.keys import number, one_of, whole_number

SLICE_S = 0.02
MEGABYTE = 1 << 20
CYCLE_LENGTH = 997


def some_ids(text: str) -> str:
    """One of the words `random`, `count`, or ids divided by commas."""
    if text not in ("random", "count") and not all(part.isascii() and part.isdigit() for part in text.split(",")):
        raise ValueError("it takes random, count, or token ids divided by commas")
    return text


class ScriptedBackend(Backend):
    """Emits `tokens` ids and then a stop id, when it was given one; with `ignore_eos` it goes on."""

    name = "scripted"
    label = "Scripted (no model)"
    format = ModelFormat.NONE
    precisions = ("fp32", "fp16", "bf16", "int8", "int4")
    default_precision = "fp32"
    keys: ClassVar[dict[str, Key]] = {
        "rate": Key(number(0.01, 1e6), 50.0, "tokens per second"),
        "tokens": Key(whole_number(1, 1_000_000), 100, "how many tokens come before the stop id"),
        "prefill": Key(number(0, 3600), 0.0, "seconds before the first token"),
        "jitter": Key(number(0, 60), 0.0, "each token is late by up to so many seconds"),
        "seed": Key(whole_number(0, 2**31), 0, "of the ids and the jitter"),
        "text": Key(some_ids, "random", "the ids: random, count, or ids divided by commas, over and over"),
        "vocab": Key(whole_number(1, 1_000_000), 1000, "all ids are below"),
        "load": Key(number(0, 3600), 0.0, "seconds that the load takes"),
        "memory": Key(whole_number(0, 1_000_000), 0, "MiB that the load takes"),
        "grow": Key(whole_number(0, 100_000), 0, "MiB that each run takes and keeps"),
        "noise": Key(whole_number(0, 1_000_000), 0, "lines printed on stdout in each run, as libraries do"),
        "fail": Key(one_of(*FAILURES, *LOAD_FAILURES), None, "what goes wrong; load-... goes wrong in the load"),
        "fail-at": Key(whole_number(0, 1_000_000), 5, "before this token, counted from 0"),
    }

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}
        self._held: list[bytearray] = []

    @classmethod
    def probe(cls) -> list[Availability]:
        """Always ready: it needs nothing."""
        return [Availability("CPU", "no device at all", precision, Status.READY) for precision in cls.precisions]

    def load(self, request: LoadRequest) -> Loaded:
        self._options = {name: key.default for name, key in self.keys.items()} | dict(request.options)
        time.sleep(self._options["load"])
        self._hold(self._options["memory"])
        if self._options["fail"] in LOAD_FAILURES:
            fail(self._options["fail"].removeprefix("load-"))
        return Loaded(f"scripted {request.device}", request.precision)

    def generate(
        self, prompt_ids: list[int], options: GenerationOptions, should_stop: Callable[[], bool]
    ) -> Iterator[int]:
        start_s = time.perf_counter()
        self._hold(self._options["grow"])
        self._make_noise()
        for index, token_id, due_s in zip(
            range(options.max_new_tokens), self._ids(prompt_ids, options), self._due_s(), strict=False
        ):
            if index == self._options["fail-at"] and self._options["fail"] in FAILURES:
                yield from fail(self._options["fail"])
            if not _slept_until(start_s + due_s, should_stop):
                return
            yield token_id

    def _ids(self, prompt_ids: list[int], options: GenerationOptions) -> Iterator[int]:
        for index, token_id in enumerate(self._text(prompt_ids, options.stop_ids)):
            if index == self._options["tokens"] and options.stop_ids:
                yield options.stop_ids[0]
                if not options.ignore_eos:
                    return
            if index == self._options["tokens"] and not options.stop_ids:
                return
            yield token_id

    def _text(self, prompt_ids: list[int], stop_ids: tuple[int, ...]) -> Iterator[int]:
        """Endless ids, never a stop id among them unless the text consists of nothing else."""
        text, vocab = self._options["text"], self._options["vocab"]
        if text == "count":
            ids = list(range(vocab))
        elif text == "random":
            chance = random.Random(f"{self._options['seed']} {prompt_ids}")
            ids = [chance.randrange(vocab) for _ in range(CYCLE_LENGTH)]
        else:
            ids = [int(part) for part in text.split(",")]
        return cycle([token_id for token_id in ids if token_id not in stop_ids] or ids)

    def _due_s(self) -> Iterator[float]:
        chance = random.Random(self._options["seed"])
        due_s = 0.0
        for index in count():
            late_s = chance.uniform(0, self._options["jitter"])
            due_s = max(due_s, self._options["prefill"] + index / self._options["rate"] + late_s)
            yield due_s

    def _hold(self, megabytes: int) -> None:
        self._held.append(bytearray(b"\1") * (megabytes * MEGABYTE))

    def _make_noise(self) -> None:
        for line in range(self._options["noise"]):
            print(f"noise {line}", flush=True)
            os.write(1, b"noise of native code\n")


def _slept_until(moment_s: float, should_stop: Callable[[], bool]) -> bool:
    """Sleep in slices up to a moment of `time.perf_counter`; False when told to stop before."""
    while (left_s := moment_s - time.perf_counter()) > 0:
        if should_stop():
            return False
        time.sleep(min(left_s, SLICE_S))
    return not should_stop()
