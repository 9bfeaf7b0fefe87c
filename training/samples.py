"""What every part of the corpus yields: one prompt with its one answer, and the split that keeps some of them unseen."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One exchange.

    `kind` names the part of the corpus; `key` holds the strings that a right answer contains (compared without case);
    an empty `prompt` marks plain running text, which is trained on without the chat template.
    """

    kind: str
    prompt: str
    answer: str
    key: tuple[str, ...] = ()
    system: str = ""


def split_rank(identity: str) -> float:
    """A fixed pseudo-random number in [0, 1) that depends on the text alone, so no seed can leak one split into another."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) / 2**64


def is_held_out(identity: str, share: float) -> bool:
    """Whether `identity` belongs to the `share` (0 to 1) of all identities that training never sees."""
    return split_rank(identity) < share


def bare(prompt: str) -> str:
    """`prompt` without case and final punctuation: two prompts that are the same so count as one phrasing."""
    return prompt.lower().rstrip("?!. ")
