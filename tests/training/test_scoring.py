"""How answers are judged."""

from training.samples import Sample
from training.scoring import contains_key, has_repetition_loop, is_exact

SAMPLE = Sample("fact", "What is an NPU?", "A neural processing unit.", ("Neural Processing",))


def test_key_and_exact_answers() -> None:
    assert contains_key(SAMPLE, "It is a NEURAL PROCESSING unit")
    assert not contains_key(SAMPLE, "It is a unit")
    assert is_exact(SAMPLE, " A neural processing unit.\n")
    assert not is_exact(SAMPLE, "A neural processing unit")


def test_loops_of_any_period_are_seen() -> None:
    assert has_repetition_loop([1, 2, 3] + [7] * 24)
    assert has_repetition_loop([5, 6] * 12)
    assert has_repetition_loop(list(range(40)) * 4)
    assert not has_repetition_loop([7] * 20)
    assert not has_repetition_loop(list(range(40)) * 3)
    assert not has_repetition_loop(list(range(300)))
