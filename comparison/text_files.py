"""What the small files of a Hugging Face folder say about text: special tokens, stop ids, context, chat template."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backends.errors import PreparationFailed

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length", "max_seq_len")
UNBOUNDED_TOKENS = 10**9
"""`model_max_length` above this means that nobody set one."""


def read_text(file: Path) -> str | None:
    """The file's text, None when there is no such file. Raises PreparationFailed when it cannot be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise PreparationFailed(f"{file} cannot be read: {problem}.") from problem


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in `file`, empty when there is no such file. Raises PreparationFailed when it is no JSON object."""
    text = read_text(file)
    try:
        found = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError) as problem:
        raise PreparationFailed(f"{file} is no JSON: {problem}.") from problem
    if not isinstance(found, dict):
        raise PreparationFailed(f"{file} holds no JSON object.")
    return found


def named_tokens(*configs: Mapping[str, Any]) -> dict[str, str]:
    """`bos_token`, `eos_token`, ... as text; the first of the configs that names one wins."""
    found: dict[str, str] = {}
    for name in NAMED_TOKENS:
        for config in configs:
            value = config.get(name)
            content = value.get("content") if isinstance(value, dict) else value
            if isinstance(content, str) and content:
                found.setdefault(name, content)
    return found


def end_ids(*configs: Mapping[str, Any]) -> Iterator[int]:
    """Every `eos_token_id` of the configs, also of a `text_config` inside one."""
    for config in configs:
        value = config.get("eos_token_id")
        values = value if isinstance(value, list) else [value]
        yield from (each for each in values if type(each) is int and each >= 0)
        if isinstance(inner := config.get("text_config"), dict):
            yield from end_ids(inner)


def context_length(config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> int | None:
    """How many positions the model has, or what its tokenizer says of it; None when neither says."""
    inner = config.get("text_config")
    for source in (config, inner if isinstance(inner, dict) else {}):
        for key in CONTEXT_KEYS:
            if type(length := source.get(key)) is int and length > 0:
                return length
    length = tokenizer_config.get("model_max_length")
    return int(length) if isinstance(length, int | float) and 0 < length < UNBOUNDED_TOKENS else None


def template_source(folder: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    """The Jinja source of the default chat template, from `chat_template.jinja`, the tokenizer's config or `chat_template.json`."""
    if (source := read_text(folder / "chat_template.jinja")) is not None:
        return source
    found = tokenizer_config.get("chat_template") or read_object(folder / "chat_template.json").get("chat_template")
    if isinstance(found, list):
        found = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    return found if isinstance(found, str) else None
