"""A tokenizer in which text cannot become a control token: each control token answers to a secret name instead of its own."""

import json
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Tokenizer

from comparison.chat_template import Span


class Shield:
    """Encodes text of which some stretches are the user's; only outside of them are control tokens recognised.

    The stretches are encoded together, so words that meet at an edge become the tokens that they always become.
    """

    def __init__(self, tokenizer: Tokenizer, controls: Iterable[str]) -> None:
        """`controls` are the contents of the added tokens to guard."""
        longest_first = sorted(set(controls), key=len, reverse=True)
        secret = secrets.token_hex(8)
        self._names = {content: f"control{secret}n{number}e" for number, content in enumerate(longest_first)}
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self._tokenizer = Tokenizer.from_str(json.dumps(_renamed(json.loads(tokenizer.to_str()), self._names)))

    def encode(self, text: str, typed: Iterable[Span], add_special_tokens: bool) -> list[int]:
        """The ids of `text`, with control tokens only outside the spans `typed`."""
        ids: list[int] = self._tokenizer.encode(
            "".join(self._guarded(text, typed)), add_special_tokens=add_special_tokens
        ).ids
        return ids

    def _guarded(self, text: str, typed: Iterable[Span]) -> Iterator[str]:
        position = 0
        for start, end in typed:
            yield self._secret_names(text[position:start])
            yield text[start:end]
            position = end
        yield self._secret_names(text[position:])

    def _secret_names(self, text: str) -> str:
        return self._pattern.sub(lambda match: self._names[match[0]], text)


def _renamed(tokenizer: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The tokenizer's JSON with tokens renamed, ids kept. The model cannot put a renamed token together from pieces either."""
    model = tokenizer["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(token, token): number for token, number in vocabulary.items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in vocabulary]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not _touches(pair, names)]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    for token in tokenizer["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    return tokenizer


def _touches(pair: str | list[str], names: dict[str, str]) -> bool:
    left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
    return left in names or right in names or left + right in names
