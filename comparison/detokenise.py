"""Token ids to text while they arrive: only complete text, each token looked at once.

Not `tokenizers.decoders.DecodeStream`: it keeps back the last characters for good, and a stretch of broken bytes costs it quadratic time.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")


class Detokenizer:
    """The text of one run. All that `add` and `finish` return is together `tokenizer.decode` of all ids but the stop ids.

    Bytes of an unfinished character are held back. With a byte-fallback tokenizer a run of byte tokens is held back until it
    ends, because the library reads it as a whole: one broken byte makes every character of the run U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, stop_ids: Iterable[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._hidden = {*stop_ids, *_skipped(tokenizer)}
        self._is_whole = _wholeness(tokenizer)
        self._anchor = _anchor(tokenizer, self._hidden)
        self._context: list[int] = []
        self._context_text = ""
        self._held: list[int] = []
        self._shown_any = False

    def add(self, ids: Iterable[int]) -> str:
        """The text that became complete with `ids`."""
        whole = 0
        for number in ids:
            token = None if number in self._hidden else self._tokenizer.id_to_token(number)
            if token is not None:
                self._held.append(number)
                whole = len(self._held) if self._is_whole(token) else whole
        return self._show(whole)

    def finish(self) -> str:
        """What was held back, as the tokenizer decodes it."""
        return self._show(len(self._held))

    def _show(self, count: int) -> str:
        """The text of the first `count` held ids, decoded after a context so that rules for a text's beginning do not apply."""
        if not count:
            return ""
        shown, self._held = self._held[:count], self._held[count:]
        text = self._decode(self._context + shown)[len(self._context_text) :]
        self._shown_any = self._shown_any or bool(text)
        self._context = [*self._anchor, shown[-1]] if self._shown_any else self._context + shown
        self._context_text = self._decode(self._context)
        return text

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text


def _skipped(tokenizer: Tokenizer) -> list[int]:
    """The ids that `decode(skip_special_tokens=True)` leaves out."""
    return [
        number
        for number in tokenizer.get_added_tokens_decoder()
        if tokenizer.decode([number], skip_special_tokens=False) and not tokenizer.decode([number])
    ]


def _anchor(tokenizer: Tokenizer, hidden: set[int]) -> list[int]:
    """A plain word to stand before the last token when the next one is decoded."""
    for number in range(tokenizer.get_vocab_size()):
        token = tokenizer.id_to_token(number)
        if token and token.isascii() and token.isalnum() and number not in hidden:
            return [number]
    return []


def _wholeness(tokenizer: Tokenizer) -> Callable[[str], bool]:
    """A function that is told each token and says whether text could end after it."""
    kinds = _kinds(json.loads(tokenizer.decoder.__getstate__())) if tokenizer.decoder is not None else set()
    if "ByteLevel" in kinds:
        return _whole_characters()
    if "ByteFallback" in kinds:
        return lambda token: not BYTE_TOKEN.fullmatch(token)
    return lambda token: True


def _kinds(decoder: dict[str, object]) -> set[object]:
    inner = decoder.get("decoders", [])
    assert isinstance(inner, list)
    return {decoder["type"]}.union(*map(_kinds, inner))


def _whole_characters() -> Callable[[str], bool]:
    """Follows UTF-8 over byte-level tokens."""
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def is_whole(token: str) -> bool:
        known = all(character in BYTES for character in token)
        utf8.decode(bytes(BYTES[character] for character in token) if known else token.encode())
        return not utf8.getstate()[0]

    return is_whole


def _byte_level_alphabet() -> dict[str, int]:
    """Byte-level tokenizers write a printable byte as itself, and the n-th other one as the character 256 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTES = _byte_level_alphabet()
