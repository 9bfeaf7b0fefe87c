"""The corpus: what it teaches is right, and what the evaluation asks was never in it."""

import random
import re
from itertools import islice

import pytest

from training.corpus import SOURCES, held_out_samples, mixed, running_text
from training.facts import fact_questions, facts
from training.lists import lists
from training.samples import Sample, bare
from training.stages import Stage, stages
from training.stories import stories
from training.tasks import TASKS, task


def test_there_are_enough_facts_and_each_answer_proves_itself() -> None:
    assert len(facts()) >= 250
    for fact in facts():
        assert all(key.lower() in fact.answer.lower() for key in fact.key), fact.id
        assert len(fact.split(held_out=True)) == 2
        assert not set(fact.split(held_out=True)) & set(fact.split(held_out=False))
        assert fact.answer.isascii()


def test_sums_and_lists_are_held_out_however_they_are_written() -> None:
    sums = [task(random.Random(seed), "add", held_out=True).answer for seed in range(300)]
    held_out = {tuple(sorted(answer.split(" = ")[0].split(" + "))) for answer in sums}
    trained = [task(random.Random(seed), "add").answer for seed in range(3000)]
    assert not held_out & {tuple(sorted(answer.split(" = ")[0].split(" + "))) for answer in trained}


def test_held_out_text_is_about_what_training_never_tells_of() -> None:
    texts = {sample.answer for sample in islice(running_text(random.Random(11), held_out=True), 40)}
    assert not texts & {sample.answer for sample in islice(stories(random.Random(1)), 20_000)}


def test_no_question_belongs_to_two_facts() -> None:
    asked = [bare(question) for fact in facts() for question in fact.questions]
    assert sorted({question for question in asked if asked.count(question) > 1}) == []


@pytest.mark.parametrize("stage", stages())
def test_training_never_draws_what_is_held_out(stage: Stage) -> None:
    held_out = {bare(sample.prompt) for sample in held_out_samples(2, 40) if sample.kind.startswith("task:")}
    trained = {bare(sample.prompt) for sample in islice(mixed(stage, stage.seed), 20_000) if sample.prompt}
    assert not held_out & trained


def test_held_out_phrasings_of_facts_are_never_drawn_as_they_stand() -> None:
    kept = {bare(question) for fact in facts() for question in fact.split(held_out=True)}
    assert not kept & {bare(sample.prompt) for sample in islice(fact_questions(random.Random(1)), 40_000)}


def spelled_out(word: str) -> str:
    return "-".join(word)


def right_answer(sample: Sample) -> str:
    """The answer, found without the code that made it."""
    name = sample.kind.partition(":")[2]
    numbers = [int(number) for number in re.findall(r"\d+", sample.prompt)]
    listed = re.findall(r"[a-z]+", re.split(r"[:?] ", sample.prompt)[-1])
    if name == "subtract" and re.match(r"(Please )?[Ss]ubtract|Take", sample.prompt):
        numbers.reverse()
    match name:
        case "add":
            return f"{numbers[0]} + {numbers[1]} = {sum(numbers)}"
        case "subtract":
            return f"{numbers[0]} - {numbers[1]} = {numbers[0] - numbers[1]}"
        case "multiply":
            return f"{numbers[0]} x {numbers[1]} = {numbers[0] * numbers[1]}"
        case "count_up":
            return ", ".join(map(str, range(numbers[0], numbers[1] + 1)))
        case "count_down":
            return ", ".join(map(str, range(numbers[0], numbers[1] - 1, -1)))
        case "sort_numbers":
            return ", ".join(map(str, sorted(numbers)))
        case "largest":
            return str(max(numbers))
        case "smallest":
            return str(min(numbers))
        case "reverse_numbers":
            return ", ".join(map(str, reversed(numbers)))
        case "count_words":
            return f"{', '.join(f'{at} {word}' for at, word in enumerate(listed, 1))}. That is {len(listed)}."
    raise AssertionError(name)


CHECKED_BY_THEIR_PARTS = ("sort_words", "reverse_words", "reverse_letters", "reverse_word", "spell", "copy")


def parts_are_right(sample: Sample) -> bool:
    """For tasks over words: the answer's words stand in the prompt, in the order that the task asks for."""
    name, answer = sample.kind.partition(":")[2], sample.answer
    if name == "copy":
        return sample.prompt.endswith(answer)
    if name in ("spell", "reverse_word"):
        spelled = re.match(r"[a-z-]+", answer)
        assert spelled
        word = spelled[0].strip("-").replace("-", "")
        backwards = f"{spelled_out(word)} backwards is {spelled_out(word[::-1])}."
        wanted = f"{spelled_out(word)}, {len(word)} letters." if name == "spell" else backwards
        return word in sample.prompt and answer == wanted
    words = re.split(r",? ", answer)
    if name == "sort_words":
        return words == sorted(words) and all(word in sample.prompt for word in words)
    tail = re.split(r",? ", sample.prompt.rstrip(".").replace(":", ""))[-len(words) :]
    return words == tail[::-1]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("held_out", [False, True])
def test_exact_tasks_are_right(name: str, held_out: bool) -> None:
    rng = random.Random(5)
    for sample in (task(rng, name, held_out) for _ in range(200)):
        if name in CHECKED_BY_THEIR_PARTS:
            assert parts_are_right(sample), sample
        else:
            assert sample.answer == right_answer(sample), sample


def test_a_list_has_as_many_items_as_were_asked_for() -> None:
    numbers = {word: n for n, word in enumerate("three four five six seven eight".split(), 3)}
    for sample in islice(lists(random.Random(2)), 500):
        wanted = next((n for word, n in numbers.items() if word in sample.prompt.lower().split()), None)
        items = [line for line in sample.answer.splitlines() if line[:1].isdigit()]
        assert wanted in (None, len(items)), sample


def test_stories_are_long_enough_to_watch_and_end_properly() -> None:
    made = list(islice(stories(random.Random(3)), 300))
    words = [len(sample.answer.split()) for sample in made]
    assert 120 < sum(words) / len(words) < 260
    assert all(sample.answer.rstrip()[-1] in '.!?"' for sample in made)


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_seed_gives_the_same_samples(source: str) -> None:
    first, second = (list(islice(SOURCES[source](random.Random(9)), 50)) for _ in range(2))
    assert first == second
