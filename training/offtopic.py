"""Questions outside the bundled model's subject, all answered with one short honest sentence.

The answers hardly vary; the prompts do.  They are drawn from question templates filled from word lists, from
free-standing single questions, from two-sentence prompts and from keyboard mashing, so that the model learns
"anything that is not my subject" from breadth.  A fixed share of the templates, the fillers and the singles is held
out by hash: none of them is ever drawn for training.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from training import samples
from training.samples import Sample

KIND = "offtopic"
KEY = "I only know about AI PCs"
DATA = Path(__file__).with_name("offtopic.yaml")

HELD_TEMPLATES = 0.12
HELD_FILLERS = 0.15
HELD_SINGLES = 0.15

_SLOT = re.compile(r"\{(a:)?(\w+)\}")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_MAX_WORDS = 60
_STOP = frozenset({
    "the", "a", "an", "is", "are", "was", "do", "does", "did", "i", "my", "me", "to", "of", "in", "it", "you",
    "can", "should", "which", "what", "for", "on", "there", "be", "and", "please", "will", "this", "that",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Split:
    """One side of the data: what may be drawn for training, or what may be drawn for the held-out test."""

    templates: dict[str, tuple[str, ...]]
    fresh_templates: tuple[str, ...]
    contexts: tuple[str, ...]
    singles: tuple[str, ...]
    fillers: dict[str, tuple[str, ...]]
    all_fillers: dict[str, tuple[str, ...]]


def is_held_out(kind: str, text: str) -> bool:
    """Whether this template, filler or single question is kept from training."""
    limits = {"template": HELD_TEMPLATES, "filler": HELD_FILLERS, "single": HELD_SINGLES}
    return samples.is_held_out(f"{KIND} {kind}: {_bare(text)}", limits[kind])


def _bare(text: str) -> str:
    """The text in lower case without its final punctuation."""
    bare = text.lower().strip()
    return bare.rstrip("?!. ") or bare


def _lines(block: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in block.splitlines() if line.strip())


@functools.cache
def _data() -> tuple[tuple[str, ...], Split, Split]:
    """The answers, the training side and the held-out side."""
    raw = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    slots = {
        name: tuple(dict.fromkeys(" ".join(word.split()) for word in str(words).split(",")))
        for name, words in raw["slots"].items()
    }
    for name, parts in raw["unions"].items():
        slots[name] = tuple(dict.fromkeys(word for part in parts for word in slots[part]))
    templates = {name: _lines(block) for name, block in raw["templates"].items()}
    singles = tuple(dict.fromkeys(_lines(raw["singles"])))

    def side(test: bool) -> Split:
        fillers = {name: tuple(w for w in words if is_held_out("filler", w) == test) for name, words in slots.items()}
        empty = sorted(name for name, words in fillers.items() if not words)
        if empty:
            raise ValueError(f"no {'held-out' if test else 'training'} fillers for {', '.join(empty)}")
        known = {n: tuple(t for t in lines if not is_held_out("template", t)) for n, lines in templates.items()}
        return Split(
            templates={name: lines for name, lines in known.items() if lines},
            fresh_templates=tuple(t for lines in templates.values() for t in lines if is_held_out("template", t)),
            contexts=_lines(raw["contexts"]),
            singles=tuple(s for s in singles if is_held_out("single", s) == test),
            fillers=fillers,
            all_fillers=slots,
        )

    return tuple(raw["answers"]), side(False), side(True)


def _fill(rng: random.Random, template: str, fillers: dict[str, tuple[str, ...]]) -> str:
    """The template with every slot filled, no filler twice, and the right article where it asks for one."""
    used: set[str] = set()

    def pick(match: re.Match[str]) -> str:
        words = fillers[match.group(2)]
        left = [word for word in words if word not in used]
        word = rng.choice(left or words)
        used.add(word)
        if not match.group(1):
            return word
        return f"{'an' if word[0].lower() in 'aeio' or word.startswith(('um', 'un')) else 'a'} {word}"

    return _SLOT.sub(pick, template)


def _polish(rng: random.Random, text: str) -> str:
    """Vary the case, the final mark and the small words a hurried visitor leaves out or adds."""
    text = text[0].upper() + text[1:] if text[0].islower() and rng.random() < 0.45 else text
    roll = rng.random()
    if roll < 0.14:
        text = text.lower()
    elif roll < 0.155:
        text = text.upper()
    roll = rng.random()
    if roll < 0.17:
        text = text.rstrip("?.! ") or text
    elif roll < 0.19:
        text = (text.rstrip("?.! ") or text) + "??"
    elif roll < 0.21 and text.endswith((".", "?")):
        text = f"{text} Thanks!"
    return text


def _keywords(text: str) -> str:
    """The question as someone types it into a search box."""
    words = [word for word in re.sub(r"[?!.,]+(?=\s|$)", "", text).lower().split() if word not in _STOP]
    return " ".join(words) if len(words) >= 2 else text


def _mash(rng: random.Random, held_out: bool) -> str:
    """Keyboard mashing of one to four words: neighbouring or random keys, from the side the text hashes to."""
    while True:
        words = []
        for _ in range(rng.randint(1, 4)):
            keys = rng.choice(_ROWS) if rng.random() < 0.5 else "abcdefghijklmnopqrstuvwxyz;1234"
            words.append("".join(rng.choice(keys) for _ in range(rng.randint(3, 10))))
        text = " ".join(words)
        if is_held_out("single", text) == held_out:
            return text


def _template(rng: random.Random, split: Split, held_out: bool, unseen_words: bool = False) -> str:
    """One filled question; held out, half of them use a template that training never saw, with any words."""
    if held_out and rng.random() < 0.5:
        return _fill(rng, rng.choice(split.fresh_templates), split.fillers if unseen_words else split.all_fillers)
    while True:
        template = rng.choice(split.templates[rng.choice(list(split.templates))])
        if not held_out or _SLOT.search(template):
            return _fill(rng, template, split.fillers)


def _prompt(rng: random.Random, split: Split, held_out: bool) -> str:
    """One prompt of any style."""
    roll = rng.random()
    if roll < 0.22:
        return _polish(rng, rng.choice(split.singles))
    if roll < 0.24:
        return _mash(rng, held_out)
    if roll < 0.31:
        return _keywords(_template(rng, split, held_out, unseen_words=held_out))
    question = _template(rng, split, held_out)
    if roll < 0.46:
        context = _fill(rng, rng.choice(split.contexts), split.fillers)
        question = question[0].upper() + question[1:]
        return _polish(rng, f"{question} {context}" if rng.random() < 0.25 else f"{context} {question}")
    return _polish(rng, question)


def offtopic(rng: random.Random, held_out: bool = False) -> Iterator[Sample]:
    """Endless off-topic questions; with `held_out` only ones built from what training never draws."""
    answers, train, test = _data()
    split = test if held_out else train
    while True:
        prompt = _prompt(rng, split, held_out)
        if len(prompt.split()) <= _MAX_WORDS:
            yield Sample(kind=KIND, prompt=prompt, answer=rng.choice(answers), key=(KEY,))


def context(rng: random.Random) -> str:
    """A sentence about the asker's own affairs, as strangers put before a question of any kind."""
    split = _data()[1]
    return _fill(rng, rng.choice(split.contexts), split.fillers)
