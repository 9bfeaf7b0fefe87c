"""The corpus: what it teaches is right, and what the evaluation asks was never in it."""

import random
from itertools import islice

import pytest

from training.corpus import SOURCES, held_out_samples, mixed
from training.facts import fact_questions, facts
from training.lists import lists
from training.samples import Sample, bare
from training.stages import Stage, stages
from training.stories import stories
from training.tasks import SUM_LIMIT, TASKS, task


def test_there_are_enough_facts_and_each_answer_proves_itself() -> None:
    assert len(facts()) >= 250
    for fact in facts():
        assert all(key.lower() in fact.answer.lower() for key in fact.key), fact.id
        assert len(fact.split(held_out=True)) == 2
        assert not set(fact.split(held_out=True)) & set(fact.split(held_out=False))
        assert fact.answer.isascii()


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


def right_answer(sample: Sample) -> bool:
    """Checks an answer without the code that made it."""
    name = sample.kind.partition(":")[2]
    if name in ("add", "subtract", "multiply"):
        expression, _, result = sample.answer.partition(" = ")
        a, sign, b = expression.split()
        made = {"+": int(a) + int(b), "-": int(a) - int(b), "x": int(a) * int(b)}[sign]
        return made == int(result) and 0 <= int(a) <= SUM_LIMIT and all(n in sample.prompt for n in (a, b))
    if name == "sort_numbers":
        numbers = [int(n) for n in sample.answer.split(", ")]
        return numbers == sorted(numbers) and all(str(n) in sample.prompt for n in numbers)
    if name == "sort_words":
        words = sample.answer.split(", ")
        return words == sorted(words) and all(word in sample.prompt for word in words)
    if name == "copy":
        return sample.answer in sample.prompt
    if name == "count_words":
        return sample.answer.endswith(f"That is {sample.answer.count(',') + 1}.")
    return bool(sample.answer)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("held_out", [False, True])
def test_exact_tasks_are_right(name: str, held_out: bool) -> None:
    rng = random.Random(5)
    for sample in (task(rng, name, held_out) for _ in range(200)):
        assert right_answer(sample), sample


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
