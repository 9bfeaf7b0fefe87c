"""How answers are judged: pure functions of an answer's text or ids."""

from training.samples import Sample

LONGEST_PERIOD = 60
LOOP_REPEATS = 4
LOOP_TOKENS = 24


def contains_key(sample: Sample, answer: str) -> bool:
    """Whether every key string of `sample` stands in `answer`, compared without case."""
    return all(key.lower() in answer.lower() for key in sample.key)


def is_exact(sample: Sample, answer: str) -> bool:
    """Whether `answer` is the one right answer, outer white space aside."""
    return answer.strip() == sample.answer


def has_repetition_loop(ids: list[int]) -> bool:
    """Whether some stretch of 1 to 60 tokens is repeated at least four times in a row over at least 24 tokens."""
    for period in range(1, LONGEST_PERIOD + 1):
        needed = max(LOOP_TOKENS, LOOP_REPEATS * period) - period
        run = 0
        for at in range(period, len(ids)):
            run = run + 1 if ids[at] == ids[at - period] else 0
            if run >= needed:
                return True
    return False
