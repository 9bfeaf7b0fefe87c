"""Numbered lists for the bundled model: subjects with their items from ``stories/lists.txt``, asked for in many ways.

Held out are request wordings that training never uses, and some pairs of subject and number of items.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from training.samples import Sample
from training.stories import data_lines, is_reserved, typed, wording, wordings

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
DEFAULT_COUNT = 5


@dataclass(slots=True)
class ListSubject:
    """A list subject with its items, in order if the order matters."""

    name: str
    title: str = ""
    ordered: bool = False
    items: list[str] = field(default_factory=list)
    always: set[int] = field(default_factory=set)


@cache
def list_subjects() -> list[ListSubject]:
    """Read the list subjects."""
    found: list[ListSubject] = []
    for line in data_lines("lists.txt"):
        mark, _, rest = line.partition(" ")
        if mark == "=":
            found.append(ListSubject(rest))
        elif mark == "~":
            found[-1].title = rest
        elif mark == ">":
            found[-1].ordered = True
        elif line:
            if line.startswith("*"):
                found[-1].always.add(len(found[-1].items))
            found[-1].items.append(line.removeprefix("*"))
    return found


def list_prompt(rng: random.Random, subject: ListSubject, count: int, counted: bool, held_out: bool) -> str:
    """A request for a list, with or without its number of items."""
    requests = wordings()["list"]
    if counted:
        number = NUMBER_WORDS[count] if rng.random() < 0.65 else str(count)
        text = wording(rng, requests["counted"], held_out).replace("{n}", number)
    else:
        text = wording(rng, requests["ordered" if subject.ordered else "plain"], held_out)
    title = subject.title or f"a list of {subject.name}"
    return typed(rng, text.replace("{s}", subject.name).replace("{a}", title))


def lists(rng: random.Random, held_out: bool = False) -> Iterator[Sample]:
    """Endless list requests with numbered lists of the wanted length; ``key`` holds the last number.

    Held out, half of them ask in a wording that training never sees, the others for a number of items that it never sees there.
    """
    while True:
        new_wording = held_out and rng.random() < 0.5
        reserved = held_out and not new_wording
        subject, counted, count = draw_request(rng)
        while (counted and is_reserved(f"{count} {subject.name}")) != reserved:
            subject, counted, count = draw_request(rng)
        prompt = list_prompt(rng, subject, count, counted, new_wording)
        yield Sample("list", prompt, written(rng, subject, count), (f"{count}. ",))


def draw_request(rng: random.Random) -> tuple[ListSubject, bool, int]:
    """A subject, whether the request names a number, and the number of items."""
    counted = rng.random() < 0.75
    return rng.choice(list_subjects()), counted, rng.randint(3, 8) if counted else DEFAULT_COUNT


def written(rng: random.Random, subject: ListSubject, count: int) -> str:
    """The list, six times in ten after a sentence that leads to it."""
    lines = [f"{number}. {item}" for number, item in enumerate(pick_items(rng, subject, count), start=1)]
    if rng.random() < 0.6:
        lead = rng.choice(wordings()["list"]["leads"]).replace("{n}", NUMBER_WORDS[count]).replace("{s}", subject.name)
        lines.insert(0, lead[0].upper() + lead[1:])
    return "\n".join(lines)


def pick_items(rng: random.Random, subject: ListSubject, count: int) -> list[str]:
    """Draw distinct items; an ordered subject keeps its order and its most important steps."""
    indices = list(range(len(subject.items)))
    if not subject.ordered:
        return [subject.items[i] for i in rng.sample(indices, count)]
    always = sorted(subject.always)
    chosen = always if len(always) <= count else always[: count - 1] + always[-1:]
    rest = [i for i in indices if i not in chosen]
    return [subject.items[i] for i in sorted(chosen + rng.sample(rest, count - len(chosen)))]
