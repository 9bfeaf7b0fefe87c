"""Little stories for the bundled model.

All content lives in ``training/stories``: ``world.yaml`` (heroes, places, objects, ...), ``plots.txt`` (the plot
skeletons with alternative sentences) and ``prompts.yaml`` (what a visitor may type). This module only combines it with agreement of names, pronouns and articles.

Held-out prompts come in two flavors: a request wording that is never used for training, or a known wording with a
subject (hero and object, hero and place, ...) that is never used for training.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from training.samples import Sample, is_held_out, split_rank

DATA = Path(__file__).parent / "stories"

HELD_OUT_TEMPLATE_EVERY = 8
"""One in eight request wordings is only drawn with ``held_out=True``."""

HELD_OUT_SUBJECTS = 0.08
"""The share of composed subjects that are only drawn with ``held_out=True``."""

STORY_WORDS = {"short": (70, 120), "any": (150, 230), "long": (200, 260)}
PRONOUNS = {
    "it": {"he": "it", "him": "it", "his": "its", "himself": "itself"},
    "he": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
    "she": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
}
SENTENCE_START = re.compile(r'(^"?|[.!?] "?|\." "?)([a-z])')


@dataclass(slots=True)
class Plot:
    """A story skeleton: paragraphs of slots, each slot a mark (see ``plots.txt``) and its alternatives."""

    name: str
    cast: str = "walker"
    uses: list[str] = field(default_factory=list)
    themes: list[str] = field(default_factory=list)
    about: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paragraphs: list[list[tuple[str, list[str]]]] = field(default_factory=lambda: [[]])


@dataclass(slots=True)
class Subject:
    """What a story is about: the wording in the prompt, and the slots it fixes."""

    text: str = ""
    composed: bool = False
    keys: tuple[str, ...] = ()
    plot: Plot | None = None
    slots: dict[str, str] = field(default_factory=dict)


def article(words: str) -> str:
    """Put the indefinite article in front of ``words``."""
    return f"an {words}" if words[0] in "aeiou" and not words.startswith("uni") else f"a {words}"


def is_reserved(subject: str) -> bool:
    """Whether a composed subject is only for held-out prompts."""
    return is_held_out(subject.lower(), HELD_OUT_SUBJECTS)


def data_lines(name: str) -> list[str]:
    """The lines of a data file without comments."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if not line.startswith("#")]


@cache
def world() -> dict[str, Any]:
    """Heroes, places, objects, helpers, obstacles, wishes and questions."""
    data: dict[str, Any] = yaml.safe_load((DATA / "world.yaml").read_text(encoding="utf-8"))
    return data


@cache
def wordings() -> dict[str, Any]:
    """The request wordings for stories and lists."""
    data: dict[str, Any] = yaml.safe_load((DATA / "prompts.yaml").read_text(encoding="utf-8"))
    return data


@cache
def plots() -> list[Plot]:
    """Read the plot skeletons, with shared slots (``@name``) filled in."""
    found: list[Plot] = []
    macros: dict[str, list[str]] = {}
    macro: list[str] | None = None
    for line in data_lines("plots.txt"):
        word, _, rest = line.partition(" ")
        if word == "macro":
            macro = macros.setdefault(rest, [])
        elif word == "plot":
            macro = None
            found.append(Plot(rest))
        elif macro is not None:
            macro.extend([line] if line else [])
        elif not found:
            continue
        elif not line:
            found[-1].paragraphs.append([])
        elif word in ("!", "~", "+", "&"):
            options = macros[rest[1:]] if rest.startswith("@") else rest.split(" | ")
            found[-1].paragraphs[-1].append((word, options))
        elif word == "cast":
            found[-1].cast = rest
        elif word == "uses":
            found[-1].uses = rest.split()
        elif word == "theme":
            found[-1].themes = rest.split(", ")
        elif word == "about":
            found[-1].about = rest.split(" | ")
        elif word == "keys":
            found[-1].keys = rest.split()
    return found


def wording(rng: random.Random, templates: list[str], held_out: bool) -> str:
    """Draw a request wording from the reserved ones, every eighth by rank, or from all others."""
    ranked = sorted(templates, key=split_rank)
    reserved = len(ranked) // HELD_OUT_TEMPLATE_EVERY
    return rng.choice(ranked[:reserved] if held_out else ranked[reserved:])


def typed(rng: random.Random, prompt: str) -> str:
    """A prompt as visitors type it: capital first letter, or careless about case and punctuation."""
    prompt = prompt[0].upper() + prompt[1:]
    style = rng.random()
    if style < 0.14:
        return prompt.rstrip(".?")
    if style < 0.24:
        return prompt[0].lower() + prompt[1:].rstrip(".?")
    if style < 0.32:
        return prompt.lower().rstrip(".?")
    return prompt


def adjective_for(rng: random.Random, cast: str, noun: str) -> str:
    """An adjective that suits a hero."""
    general: list[str] = world()["adjectives"][cast]
    own: list[str] = world()["walkers"][noun][1] if cast == "walker" else []
    return rng.choice(own) if own and rng.random() < 0.35 else rng.choice(general)


def homes(cast: str, noun: str) -> list[str]:
    """The places where a hero can live."""
    if cast == "still":
        return list(world()["homes"][world()["stills"][noun][2]])
    return list(world()["places"])


def cast_slots(rng: random.Random, plot: Plot, fixed: dict[str, str]) -> dict[str, str]:
    """Choose everything the plot needs that the prompt has not fixed, and derive the inflected forms."""
    data = world()
    slots = dict(fixed)
    if plot.cast == "tech":
        slots.setdefault("N", rng.choice(data["names"]["it"]))
        slots |= {kind: rng.choice(data["adjectives"][kind]) for kind in ("adj", "mood")}
        return slots | PRONOUNS["it"]
    heroes = data[plot.cast + "s"]
    noun = slots.setdefault("noun", rng.choice(list(heroes)))
    hero = heroes[noun]
    slots.setdefault("ahero", article(f"{adjective_for(rng, plot.cast, noun)} {noun}"))
    slots.setdefault("N", rng.choice(data["names"][hero[0]]))
    slots |= PRONOUNS[hero[0]] | {"hero": f"the {noun}", "look": hero[2] if plot.cast == "walker" else hero[1]}
    place = slots.setdefault("where", rng.choice(homes(plot.cast, noun)))
    slots["inplace"], slots["place"], slots["folk"] = data["places"][place]
    helpers = [name for name in data["helpers"] if name.split()[-1] != noun.split()[-1]]
    helper = rng.choice(helpers)
    pronoun = PRONOUNS[data["helpers"][helper]]
    slots |= {"ahelper": article(helper), "helper": f"the {helper.split()[-1]}"}
    slots |= {"hhe": pronoun["he"], "hhim": pronoun["him"], "hhis": pronoun["his"]}
    if "object" in plot.uses:
        thing = slots.setdefault("thing", rng.choice([name for name in data["objects"] if suits(plot, name)]))
        adjectives, works, broke, *saves = data["objects"][thing]
        slots.setdefault("aobj", article(f"{rng.choice(adjectives)} {thing}"))
        slots |= {"obj": f"the {thing}", "works": works or "", "broke": broke or "", "help": saves[0] if saves else ""}
    if "obstacle" in plot.uses:
        easy = hero[3] if len(hero) > 3 else []
        names = [name for name in data["obstacles"] if name not in (*easy, place, helper.split()[-1])]
        slots["aobst"], slots["trouble"], slots["solve"] = data["obstacles"][rng.choice(names)]
    if "wish" in plot.uses:
        wishes = [wish for wish in data["wishes"] if not {noun, place} & set(data["unsuited"].get(wish, []))]
        wish = slots.setdefault("wish", rng.choice(wishes))
        slots["wishend"] = data["wishes"][wish]
    if "question" in plot.uses:
        question = slots.setdefault("question", rng.choice(list(data["questions"])))
        slots["answer"] = data["questions"][question].replace("{ahelper}", "{helper}")
    return slots


def suits(plot: Plot, thing: str) -> bool:
    """Whether an object can play its part in a plot."""
    _, works, _, *saves = world()["objects"][thing]
    return ("works" not in plot.uses or bool(works)) and ("help" not in plot.uses or bool(saves))


def fill(text: str, slots: dict[str, str]) -> str:
    """Fill the slots of a sentence (their values may contain slots too) and capitalize sentence starts.

    A word after ``!"`` or ``?"`` stays as it is, because it mostly is ``said``.
    """
    while "{" in text:
        text = text.format_map(slots)
    return SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), text)


def tell(rng: random.Random, plot: Plot, fixed: dict[str, str], length: str) -> str:
    """Tell a story of the wanted length: ``short`` has only the core slots, ``long`` nearly all."""
    low, high = STORY_WORDS[length]
    share = {"short": 0.0, "any": 0.75, "long": 0.95}[length]
    best = ""
    for _ in range(12):
        slots = cast_slots(rng, plot, fixed)
        paragraphs = [pick_sentences(rng, slots_of, slots, share) for slots_of in plot.paragraphs]
        text = "\n".join(paragraph for paragraph in paragraphs if paragraph)
        words = len(text.split())
        if low <= words <= high:
            return text
        if words < low:
            share = min(1.0, share + 0.12)
        elif share:
            share = max(0.12, share - 0.12)
        distance = max(low - words, words - high)
        if not best or distance < max(low - len(best.split()), len(best.split()) - high):
            best = text
    return best


def pick_sentences(
    rng: random.Random, paragraph: list[tuple[str, list[str]]], slots: dict[str, str], share: float
) -> str:
    """One paragraph: all core slots and about ``share`` of the others."""
    sentences: list[str] = []
    extra = False
    for mark, options in paragraph:
        if mark == "+":
            extra = rng.random() < share
        elif mark != "&":
            extra = mark == "!" or share > 0
        if extra:
            sentences.append(fill(rng.choice(options), slots))
    return " ".join(sentences)


def draw_subject(rng: random.Random) -> Subject:
    """Draw what a story is about."""
    data = world()
    shape = rng.random()
    if shape < 0.15:
        plot = rng.choice([plot for plot in plots() if plot.cast == "tech"])
        text = rng.choice(plot.about)
        slots = {"N": "Zero"} if text.endswith("named Zero") else {}
        return Subject(text, False, tuple(plot.keys), plot, slots)
    if shape < 0.18:
        plot = rng.choice([plot for plot in plots() if plot.cast != "tech"])
        return Subject(rng.choice(plot.themes), False, (), plot)
    cast = "still" if shape < 0.3 else "walker"
    candidates = [plot for plot in plots() if plot.cast == cast]
    noun = rng.choice(list(data[cast + "s"]))
    hero = article(noun) if rng.random() < 0.3 else article(f"{adjective_for(rng, cast, noun)} {noun}")
    subject = Subject(hero, hero != article(noun), (noun,), None, {"noun": noun, "ahero": hero})
    extra = rng.random()
    if extra < 0.14:
        name = rng.choice(data["names"][data[cast + "s"][noun][0]])
        subject.text += f" {rng.choice(['called', 'named'])} {name}"
        subject.slots["N"] = name
        subject.keys += (name,)
    elif extra < 0.26:
        place = rng.choice(homes(cast, noun))
        subject.text += f" {data['places'][place][0]}"
        subject.slots["where"] = place
        subject.keys += (data["places"][place][1].removeprefix("the "),)
    elif extra < 0.58 and cast == "walker":
        thing = rng.choice(list(data["objects"]))
        aobj = article(thing) if rng.random() < 0.5 else article(f"{rng.choice(data['objects'][thing][0])} {thing}")
        candidates = [plot for plot in candidates if "object" in plot.uses and suits(plot, thing)]
        subject.slots |= {"thing": thing, "aobj": aobj}
        if rng.random() < 0.15:
            subject = Subject(aobj, aobj != article(thing), (thing,), None, {"thing": thing, "aobj": aobj})
        else:
            subject.text += f" {rng.choice(['and', 'and', 'with'])} {aobj}"
            subject.keys += (thing,)
    elif extra < 0.66 and cast == "walker":
        wish = rng.choice([wish for wish in data["wishes"] if noun not in data["unsuited"].get(wish, [])])
        candidates = [plot for plot in candidates if "wish" in plot.uses]
        subject.text += f" who {rng.choice(['wants', 'wanted'])} to {wish}"
        places = [place for place in homes(cast, noun) if place not in data["unsuited"].get(wish, [])]
        subject.slots |= {"wish": wish, "where": rng.choice(places)}
    subject.composed = subject.composed or extra < 0.26 or subject.text != hero
    subject.plot = rng.choice(candidates)
    return subject


def stories(rng: random.Random, held_out: bool = False, new_wordings: bool = True) -> Iterator[Sample]:
    """Endless story requests with their stories; ``key`` holds words that the story must contain.

    Held out, half of them ask in a wording that training never sees, the others for a subject that it never sees; without
    ``new_wordings`` all are of the second kind, so that the stories themselves are new.
    """
    while True:
        length = rng.choices(("any", "short", "long"), (60, 25, 15))[0]
        if held_out and not (new_wordings and rng.random() < 0.5):
            yield about_something(rng, length, False, reserved=True)
        elif rng.random() < 0.07:
            yield about_nothing(rng, length, held_out)
        else:
            yield about_something(rng, length, held_out, reserved=False)


def about_nothing(rng: random.Random, length: str, new_wording: bool) -> Sample:
    """A request for a story about anything. Where there are too few wordings to hold one out, any length will do."""
    group = "none" if length == "any" else f"none_{length}"
    requests = wordings()["story"]
    if new_wording and len(requests[group]) < HELD_OUT_TEMPLATE_EVERY:
        group = "none"
    return Sample(
        "story", typed(rng, wording(rng, requests[group], new_wording)), tell(rng, rng.choice(plots()), {}, length)
    )


def about_something(rng: random.Random, length: str, new_wording: bool, reserved: bool) -> Sample:
    """A request for a story about a subject, one that is kept from training when `reserved`."""
    subject = draw_subject(rng)
    while (subject.composed and is_reserved(subject.text)) != reserved:
        subject = draw_subject(rng)
    template = wording(rng, wordings()["story"][length], new_wording)
    assert subject.plot is not None
    answer = tell(rng, subject.plot, subject.slots, length)
    return Sample("story", typed(rng, template.replace("{s}", subject.text)), answer, subject.keys)
