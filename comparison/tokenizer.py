"""A model's tokenizer as transformers would set it up, and encoding that keeps control tokens out of the user's words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer

from backends.errors import PreparationFailed, PromptRefused
from comparison.chat_template import Rendered, Span
from comparison.shield import Shield


def load_tokenizer(file: Path, settings: Mapping[str, Any], named: Mapping[str, str]) -> Tokenizer:
    """The tokenizer in `file`, without truncation and padding. Raises PreparationFailed when there is none, or it is broken.

    `settings` is the content of `tokenizer_config.json`, `named` the texts of `bos_token`, `eos_token`, ... As in transformers,
    `add_bos_token` in the settings changes nothing where there is a tokenizer.json: whether BOS comes before a text stands there.
    """
    if not file.is_file():
        raise PreparationFailed(f"{file.parent} has no tokenizer.json; prepare the model first.")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as problem:  # the library raises plain Exception for every kind of damage
        raise PreparationFailed(f"{file} is no tokenizer: {problem}") from problem
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for token in _configured(settings):
        tokenizer.add_tokens([token])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named.values()])
    return tokenizer


def _configured(settings: Mapping[str, Any]) -> Iterator[AddedToken]:
    """The added tokens that `tokenizer_config.json` lists, by id; those that the tokenizer has already change nothing."""
    listed = settings.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for _, token in sorted(listed.items(), key=lambda item: int(item[0])):
        yield AddedToken(token["content"], **{flag: bool(token[flag]) for flag in flags if flag in token})


class DataEncoder:
    """Encodes rendered prompts as transformers does, except that what the user typed never becomes a control token.

    Control tokens are the special ones and those that the template itself writes.
    """

    def __init__(self, tokenizer: Tokenizer, named: Mapping[str, str]) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder().items()
        self._added = {number: token.content for number, token in added if token.content.strip()}
        self._special = {number for number, token in added if token.special or token.content in named.values()}
        self._shields: dict[frozenset[str], Shield] = {}

    def encode(self, rendered: Rendered, words: str, add_special_tokens: bool) -> list[int]:
        """The ids of `rendered`; `words` is what the user typed. Raises PromptRefused where the two cannot be told apart."""
        encoding = self._tokenizer.encode(rendered.text, add_special_tokens=add_special_tokens)
        ids: list[int] = encoding.ids
        if rendered.typed is None:
            return self._unless_special(ids, words)
        hits: dict[bool, set[int]] = {True: set(), False: set()}
        for number, span in self._hits(encoding):
            hits[_overlaps(rendered.text, span, rendered.typed)].add(number)
        controls = self._added.keys() & (self._special | hits[False])
        if not hits[True] & controls:
            return ids
        return self._shield(controls).encode(rendered.text, rendered.typed, add_special_tokens)

    def _hits(self, encoding: Encoding) -> Iterator[tuple[int, Span]]:
        for number, span in zip(encoding.ids, encoding.offsets, strict=True):
            if number in self._added:
                yield number, span

    def _shield(self, controls: set[int]) -> Shield:
        contents = frozenset(self._added[number] for number in controls)
        if contents not in self._shields:
            self._shields[contents] = Shield(self._tokenizer, contents)
        return self._shields[contents]

    def _unless_special(self, ids: list[int], words: str) -> list[int]:
        for content in (self._added[number] for number in self._special if number in self._added):
            if content in words:
                raise PromptRefused(
                    f"The prompt holds the special token {content}, and this model's chat template rewrites prompts, "
                    "so it cannot be passed on as plain text. Remove it."
                )
        return ids


def _overlaps(text: str, span: Span, typed: tuple[Span, ...]) -> bool:
    """Whether the token at `span`, without the white space that it swallowed, lies in the user's words."""
    piece = text[slice(*span)]
    start = span[0] + len(piece) - len(piece.lstrip())
    end = start + len(piece.strip())
    return any(max(start, left) < min(end, right) for left, right in typed)
