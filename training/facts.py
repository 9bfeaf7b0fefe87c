"""The facts about AI PCs that the bundled model knows: read from `facts/*.yaml`, asked in many ways.

Each fact has about 25 hand-written phrasings. Some are never trained on (`HELD_OUT_PHRASINGS`); the others are varied
further, by patterns that any subject fits, casing, punctuation, politeness, a slip of the keyboard or a dropped filler word, so that a stranger's wording finds its answer.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from training.rewording import reworded
from training.samples import Sample, bare, split_rank

FOLDER = Path(__file__).parent / "facts"
HELD_OUT_PHRASINGS = 2
"""Phrasings of each fact that only the evaluation sees."""

FILLERS = frozenset(
    "a an the is are do does of to in on for me please can could you would i it that so my really exactly just with".split()
)
OPENERS = (
    "Hi, {}", "Hello! {}", "Please tell me: {}", "Quick question: {}", "Tell me, {}", "I was wondering, {}", "Hey, {}",
    "My question is: {}", "Sorry to ask, but {}", "One more thing: {}", "Question for you: {}", "For my notes, {}",
    "I am new to this. {}", "As a beginner, {}", "A visitor asks: {}", "{} Keep it short.", "{} Thanks!", "{} Please explain.",
    "{} In simple words, please.", "{} I would like to know.", "{} Explain it to a beginner.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """`questions` all have the same `answer`; each string of `key` stands in it and proves that the fact was given."""

    id: str
    questions: tuple[str, ...]
    answer: str
    key: tuple[str, ...]

    def split(self, held_out: bool) -> tuple[str, ...]:
        """The phrasings of one split, the held-out ones picked by their text's hash so that adding some moves few others."""
        ranked = sorted(self.questions, key=lambda question: split_rank(f"{self.id} {question}"))
        return tuple(ranked[:HELD_OUT_PHRASINGS] if held_out else ranked[HELD_OUT_PHRASINGS:])


@cache
def facts() -> tuple[Fact, ...]:
    """All facts of `facts/*.yaml`, in the order of file names. Raises ValueError where two facts share an id."""
    loaded = tuple(fact for path in sorted(FOLDER.glob("*.yaml")) for fact in _read(path))
    ids = [fact.id for fact in loaded]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two facts share an id: {sorted({i for i in ids if ids.count(i) > 1})}")
    return loaded


def _read(path: Path) -> Iterator[Fact]:
    """The facts of one file, with the further phrasings of the file of that name in `phrasings/`."""
    more = FOLDER / "phrasings" / path.name
    further = yaml.safe_load(more.read_text(encoding="utf-8")) if more.exists() else {}
    for item in yaml.safe_load(path.read_text(encoding="utf-8")):
        questions = {bare(question): question for question in [*further.get(item["id"], ()), *item["questions"]]}
        yield Fact(item["id"], tuple(questions.values()), item["answer"], tuple(item["key"]))


def _slip(rng: random.Random, text: str) -> str:
    """`text` with a letter lost, doubled or swapped in one longer word; names with digits (FP16, Phi-3) are left alone."""
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not long:
        return text
    at = rng.choice(long)
    word, cut = words[at], rng.randrange(1, len(words[at]) - 1)
    before, letter, after = word[:cut], word[cut], word[cut + 1 :]
    words[at] = rng.choice((before + after, before + letter * 2 + after, before + after[0] + letter + after[1:]))
    return " ".join(words)


def _other_spelling(text: str) -> str:
    """British for American spelling of quantisation, and the other way round."""
    return re.sub("uanti([sz])", lambda found: "uanti" + ("z" if found[1] == "s" else "s"), text)


def vary(rng: random.Random, question: str) -> str:
    """`question` as another hand might have typed it. Three in ten come back unchanged."""
    if rng.random() < 0.3:
        return question
    if rng.random() < 0.5:
        other = reworded(rng, question)
        question = question if bare(other) in held_out_questions() else other
    if rng.random() < 0.25:
        words = [word for word in question.split() if word.lower() not in FILLERS or rng.random() < 0.5]
        question = " ".join(words) if len(words) > 1 else question
    if rng.random() < 0.25:
        opener = rng.choice(OPENERS)
        lowered = (
            question[0].lower() + question[1:] if opener.endswith(", {}") and question[1:2].islower() else question
        )
        question = opener.format(lowered)
    if rng.random() < 0.5:
        question = _other_spelling(question)
    if rng.random() < 0.12:
        question = _slip(rng, question)
    if rng.random() < 0.3:
        question = question.rstrip("?.!")
    chance = rng.random()
    return question.lower() if chance < 0.3 else question.upper() if chance < 0.33 else question


@cache
def held_out_questions() -> frozenset[str]:
    """All held-out phrasings, bare."""
    return frozenset(bare(question) for fact in facts() for question in fact.split(held_out=True))


def fact_questions(rng: random.Random, held_out: bool = False) -> Iterator[Sample]:
    """Endless questions about the facts, each fact equally often. Held-out phrasings come as they were written."""
    while True:
        for fact in rng.sample(facts(), len(facts())):
            question = rng.choice(fact.split(held_out))
            yield Sample("fact", question if held_out else vary(rng, question), fact.answer, fact.key)
