"""Exact tasks: questions with one right answer, the yardstick by which a lower precision can be seen to lose something.

The answers show their steps where that makes the task learnable by a small model ("1 red, 2 blue. That is 2."), and are
compared whole: one wrong character is a wrong answer. An instance (operands, list) belongs to one split for good.
"""

import random
import string
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from training.samples import Sample, is_held_out, split_rank
from training.stages import stages

HELD_OUT_SHARE = 0.1
SUM_LIMIT = 60
"""Operands of sums and differences run from 0 to here."""
TABLE_LIMIT = 10
"""Multiplication is the small table. All of it is trained on; there, only the wording is unseen."""

Instance = tuple[dict[str, Any], str]


@cache
def wordings() -> dict[str, Any]:
    """The contents of `tasks.yaml`: per task its wordings, and the word lists as lists."""
    data: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "tasks.yaml").read_text(encoding="utf-8"))
    return data | {name: data[name].split() for name in ("words", "other_words", "spelled")}


def _add(rng: random.Random) -> Instance:
    a, b = rng.randint(0, SUM_LIMIT), rng.randint(0, SUM_LIMIT)
    return {"a": a, "b": b}, f"{a} + {b} = {a + b}"


def _subtract(rng: random.Random) -> Instance:
    b, a = sorted((rng.randint(0, SUM_LIMIT), rng.randint(0, SUM_LIMIT)))
    return {"a": a, "b": b}, f"{a} - {b} = {a - b}"


def _multiply(rng: random.Random) -> Instance:
    a, b = rng.randint(0, TABLE_LIMIT), rng.randint(0, TABLE_LIMIT)
    return {"a": a, "b": b}, f"{a} x {b} = {a * b}"


def _words(rng: random.Random, most: int) -> list[str]:
    return rng.sample(wordings()["words"], rng.randint(3, most))


def _any_words(rng: random.Random, most: int) -> list[str]:
    pool = wordings()["words"] + wordings()["other_words"] if rng.random() < 0.7 else wordings()["words"]
    return rng.sample(pool, rng.randint(3, most))


def _numbers(rng: random.Random, most: int) -> list[str]:
    return [str(n) for n in rng.sample(range(100), rng.randint(3, most))]


def _joined(rng: random.Random, items: list[str]) -> dict[str, Any]:
    return {"x": rng.choice((", ", ", ", " ")).join(items)}


def _count_words(rng: random.Random) -> Instance:
    words = _any_words(rng, 8)
    steps = ", ".join(f"{i} {word}" for i, word in enumerate(words, 1))
    return _joined(rng, words), f"{steps}. That is {len(words)}."


def _count_up(rng: random.Random) -> Instance:
    start = rng.randint(0, 30)
    stop = start + rng.randint(3, 19)
    return {"a": start, "b": stop}, ", ".join(map(str, range(start, stop + 1)))


def _count_down(rng: random.Random) -> Instance:
    stop = rng.randint(0, 40)
    start = stop + rng.randint(3, 12)
    return {"a": start, "b": stop}, ", ".join(map(str, range(start, stop - 1, -1)))


def _sort_numbers(rng: random.Random) -> Instance:
    numbers = _numbers(rng, 6)
    return _joined(rng, numbers), ", ".join(sorted(numbers, key=int))


def _largest(rng: random.Random) -> Instance:
    numbers = _numbers(rng, 5)
    return {"x": ", ".join(numbers)}, max(numbers, key=int)


def _smallest(rng: random.Random) -> Instance:
    numbers = _numbers(rng, 5)
    return {"x": ", ".join(numbers)}, min(numbers, key=int)


def _sort_words(rng: random.Random) -> Instance:
    words = _words(rng, 5)
    return _joined(rng, words), ", ".join(sorted(words))


def _reverse_words(rng: random.Random) -> Instance:
    words = _any_words(rng, 6)
    return _joined(rng, words), ", ".join(reversed(words))


def _reverse_letters(rng: random.Random) -> Instance:
    letters = rng.sample(string.ascii_lowercase, rng.randint(3, 6))
    return {"x": " ".join(letters)}, " ".join(reversed(letters))


def _reverse_numbers(rng: random.Random) -> Instance:
    numbers = _numbers(rng, 6)
    return _joined(rng, numbers), ", ".join(reversed(numbers))


def _reverse_word(rng: random.Random) -> Instance:
    word = rng.choice(wordings()["spelled"])
    return {"x": word}, f"{'-'.join(word)} backwards is {'-'.join(reversed(word))}."


def _spell(rng: random.Random) -> Instance:
    word = rng.choice(wordings()["spelled"])
    return {"x": word}, f"{'-'.join(word)}, {len(word)} letters."


def _copy(rng: random.Random) -> Instance:
    text = " ".join(_any_words(rng, 8))
    return {"x": text}, text


TASKS: dict[str, Callable[[random.Random], Instance]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "count_words": _count_words,
    "count_up": _count_up,
    "count_down": _count_down,
    "sort_numbers": _sort_numbers,
    "largest": _largest,
    "smallest": _smallest,
    "sort_words": _sort_words,
    "reverse_words": _reverse_words,
    "reverse_letters": _reverse_letters,
    "reverse_numbers": _reverse_numbers,
    "reverse_word": _reverse_word,
    "spell": _spell,
    "copy": _copy,
}
"""The generator of each task's instances."""

CLOSED_TASKS = frozenset({"multiply", "reverse_word", "spell"})
"""Tasks over a closed set of instances, all trained on: what is held out of them is one wording in five."""


@cache
def _held_out_wordings(task: str) -> frozenset[str]:
    bare = sorted({wording.strip(".?") for wording in wordings()[task]}, key=split_rank)
    return frozenset(bare[: max(1, len(bare) // 5)])


def _held_out(task: str, fields: dict[str, Any], wording: str) -> bool:
    if task in CLOSED_TASKS:
        return wording.strip(".?") in _held_out_wordings(task)
    return is_held_out(f"{task} {_instance(task, fields)}", HELD_OUT_SHARE)


def _instance(task: str, fields: dict[str, Any]) -> list[str]:
    """The instance however it is written: the two terms of a sum in either order, a list with commas or without."""
    items = str(fields["x"]).replace(",", " ").split() if "x" in fields else [str(fields["a"]), str(fields["b"])]
    return sorted(items) if task == "add" else items


def task(rng: random.Random, name: str, held_out: bool = False) -> Sample:
    """One instance of the task `name` from the wanted split; `kind` is "task:NAME", `key` the whole answer."""
    make = TASKS[name]
    while True:
        fields, answer = make(rng)
        wording = rng.choice(wordings()[name])
        if _held_out(name, fields, wording) == held_out:
            return Sample(f"task:{name}", wording.format(**fields), answer, (answer,))


def tasks(rng: random.Random, held_out: bool = False, weights: Mapping[str, float] | None = None) -> Iterator[Sample]:
    """Endless exact tasks in the proportions of `weights`, by default those of the first stage."""
    shares = stages()[0].tasks if weights is None else weights
    while True:
        yield task(rng, rng.choices(list(shares), list(shares.values()))[0], held_out)
