"""Streamed text is, put together, what the tokenizer decodes at once, however the tokens arrive."""

import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from comparison.detokenise import Detokenizer
from tests.comparison.toy_tokenizers import KINDS

TEXTS = [
    "Hello there! How are you? 1, 2, 3 stars; it couldn't stop.",
    "👋🏽🌍 日本語 и привет, naïve café\n\n  def f(x):\n\treturn x\n",
    "   leading and trailing spaces   ",
    "\ufffd a real replacement character \ufffd",
]


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    return KINDS[kind]()


def streamed(tokenizer: Tokenizer, ids: list[int], sizes: list[int], stop_ids: tuple[int, ...] = ()) -> str:
    """All text of `ids`, handed over in batches of the given sizes, over and over."""
    detokenizer = Detokenizer(tokenizer, stop_ids)
    pieces, position, turn = [], 0, 0
    while position < len(ids):
        size = sizes[turn % len(sizes)]
        pieces.append(detokenizer.add(ids[position : position + size]))
        position, turn = position + size, turn + 1
    return "".join([*pieces, detokenizer.finish()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_text_is_streamed_whole(kind: str, text: str, size: int) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer.encode(text).ids
    assert streamed(tokenizer, ids, [size]) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_ids_in_any_batches_are_streamed_whole(kind: str, data: st.DataObject) -> None:
    tokenizer = tokenizer_of(kind)
    known = tokenizer.get_vocab_size()
    ids = data.draw(st.lists(st.integers(0, known + 3), max_size=60))
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    assert streamed(tokenizer, ids, sizes) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["byte_level", "llama"])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_broken_bytes_are_streamed_as_the_tokenizer_decodes_them(kind: str, data: st.DataObject) -> None:
    tokenizer = tokenizer_of(kind)
    single_bytes = [number for token, number in tokenizer.get_vocab().items() if len(token) == 1 or token[:3] == "<0x"]
    ids = data.draw(st.lists(st.sampled_from(sorted(single_bytes)), max_size=40))
    assert streamed(tokenizer, ids, [1]) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["byte_level", "llama", "metaspace"])
def test_an_emoji_is_never_shown_in_pieces(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    detokenizer = Detokenizer(tokenizer)
    shown = [
        detokenizer.add([number]) for number in tokenizer.encode("wave 🫠 and go on", add_special_tokens=False).ids
    ]
    assert not any("\ufffd" in piece for piece in shown)
    assert "".join(shown) + detokenizer.finish() == "wave 🫠 and go on"


@pytest.mark.parametrize("kind", ["byte_level", "llama", "metaspace", "unigram", "word_piece"])
def test_words_appear_with_their_token(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    detokenizer = Detokenizer(tokenizer)
    ids = tokenizer.encode("The NPU of an AI PC", add_special_tokens=False).ids
    for count, number in enumerate(ids, start=1):
        detokenizer.add([number])
        assert detokenizer.finish() == "", f"token {count} was held back"


def test_a_stop_token_is_not_shown_even_when_it_is_an_ordinary_one() -> None:
    tokenizer = tokenizer_of("byte_level")
    ids = tokenizer.encode("stop here").ids
    assert streamed(tokenizer, [*ids, ids[0]], [1], stop_ids=(ids[0],)) == tokenizer.decode(ids[1:])


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    tokenizer = tokenizer_of("byte_level")
    detokenizer = Detokenizer(tokenizer)
    first_byte = tokenizer.encode("🫠").ids[:1]
    assert detokenizer.add(first_byte) == ""
    assert detokenizer.finish() == "\ufffd"
    assert detokenizer.finish() == ""


@pytest.mark.parametrize("kind", ["byte_level", "llama", "unigram"])
@pytest.mark.parametrize("garbage", [False, True])
def test_long_answers_cost_no_more_per_token(kind: str, garbage: bool) -> None:
    """4,000 tokens one by one, also of nothing but broken bytes, where decoding anew each time takes seconds."""
    tokenizer = tokenizer_of(kind)
    broken = tokenizer.token_to_id("Ģ") or tokenizer.token_to_id("<0x80>") or tokenizer.token_to_id("▁")
    ids = [broken] * 4000 if garbage else (tokenizer.encode("The NPU of an AI PC, 日本語 ").ids * 400)[:4000]
    began = time.process_time()
    text = streamed(tokenizer, ids, [1])
    assert time.process_time() - began < 1
    assert text == tokenizer.decode(ids, skip_special_tokens=True)
