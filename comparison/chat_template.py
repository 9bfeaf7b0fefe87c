"""A model's chat template, rendered as transformers renders it, and where in the result the user's own words stand."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.errors import PreparationFailed, PromptRefused

Span = tuple[int, int]


def _mark() -> str:
    """Text that nobody types and that trimming, changing case or quoting leaves alone."""
    return f"\ufdd0{secrets.randbelow(10**18):018d}\ufdd1"


OPEN, CLOSE = _mark(), _mark()
MARKS = re.compile(f"({OPEN}|{CLOSE})")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as the template writes it. `typed` are the (start, end) of the user's words; None if the template rewrote them."""

    text: str
    typed: tuple[Span, ...] | None
    system_merged: bool = False
    """The template takes no system prompt, so it stands before the prompt in the user's turn."""


class ChatTemplate:
    """A compiled chat template. Rendering is safe from several threads at once."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """`tokens` are the variables `bos_token`, `eos_token`, ... Raises PreparationFailed when `source` is no template."""
        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as problem:
            raise PreparationFailed(
                f"The model's chat template is broken in line {problem.lineno}: {problem.message}"
            ) from problem
        self._tokens = dict(tokens)

    def render(self, prompt: str, system: str = "") -> Rendered:
        """One user turn, after a system turn if `system` is not blank, up to where the answer begins.

        Raises PromptRefused, with the template's own words, when the template refuses the prompt.
        """
        user = {"role": "user", "content": prompt}
        if not system.strip():
            return self._rendered([user])
        try:
            rendered = self._rendered([{"role": "system", "content": system}, user])
        except PromptRefused:
            rendered = None
        if rendered is not None and _shows(rendered, system):
            return rendered
        merged = {"role": "user", "content": f"{system}\n\n{prompt}"}
        return replace(self._rendered([merged]), system_merged=True)

    def _rendered(self, messages: list[dict[str, str]]) -> Rendered:
        text = self._text(messages)
        try:
            marked = self._text([message | {"content": _marked(message["content"])} for message in messages])
        except PromptRefused:
            return Rendered(text, None)
        unmarked, typed = _without_marks(marked)
        return Rendered(text, typed if unmarked == text else None)

    def _text(self, messages: list[dict[str, str]]) -> str:
        try:
            return self._template.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=True, **self._tokens
            )
        except TemplateError as problem:
            raise PromptRefused(f"The model's chat template refuses the prompt: {problem}") from problem
        except Exception as problem:  # a template is a program of the model's author: it may raise anything
            raise PromptRefused(f"The model's chat template fails: {type(problem).__name__}: {problem}") from problem


def _shows(rendered: Rendered, system: str) -> bool:
    return system.strip() in rendered.text if rendered.typed is None else len(rendered.typed) > 1


def _marked(content: str) -> str:
    """`content` with its words between marks; white space at its ends stays outside, where the template may trim it."""
    words = content.strip()
    if not words:
        return content
    start = content.index(words)
    return f"{content[:start]}{OPEN}{words}{CLOSE}{content[start + len(words) :]}"


def _without_marks(marked: str) -> tuple[str, tuple[Span, ...]]:
    pieces, spans, position, start = [], [], 0, 0
    for piece in MARKS.split(marked):
        if piece == OPEN:
            start = position
        elif piece == CLOSE:
            spans.append((start, position))
        else:
            pieces.append(piece)
            position += len(piece)
    return "".join(pieces), tuple(spans)


class _Generation(Extension):
    """`{% generation %}` marks what the assistant said, for training; here it only has to be read."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment() -> ImmutableSandboxedEnvironment:
    """The environment in which transformers runs chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without jinja2's own escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
