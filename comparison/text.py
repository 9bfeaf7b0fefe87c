"""From what a user types to token ids, once for all lanes. What is typed is data: it never becomes a control token."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from backends.errors import PromptRefused
from comparison.chat_template import ChatTemplate, Rendered
from comparison.detokenise import Detokenizer
from comparison.text_files import context_length, end_ids, named_tokens, read_object, template_source
from comparison.tokenizer import DataEncoder, load_tokenizer

Notice = tuple[str, str]
"""A warning as lanes have them: (kind, message)."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt ready for every lane. `text` is the prompt as the template writes it, `tokenize_s` what all this took."""

    text: str
    ids: tuple[int, ...]
    tokenize_s: float
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptText:
    """The text side of one model. `stop_ids` end an answer; `context_length` counts prompt and answer, None if unknown."""

    tokenizer: Tokenizer
    stop_ids: tuple[int, ...]
    context_length: int | None
    _template: ChatTemplate | None
    _encoder: DataEncoder

    @classmethod
    def from_folder(cls, folder: Path, tokenizer_file: Path | None = None) -> "PromptText":
        """Read tokenizer, chat template and configs of a Hugging Face folder. Raises PreparationFailed when one is unusable.

        `tokenizer_file` stands in for the folder's own tokenizer.json where it has none.
        """
        settings = read_object(folder / "tokenizer_config.json")
        config = read_object(folder / "config.json")
        named = named_tokens(settings, read_object(folder / "special_tokens_map.json"))
        tokenizer = load_tokenizer(tokenizer_file or folder / "tokenizer.json", settings, named)
        stop_ids = {*end_ids(read_object(folder / "generation_config.json"), config)}
        if "eos_token" in named:
            stop_ids.add(tokenizer.token_to_id(named["eos_token"]))
        source = template_source(folder, settings)
        return cls(
            tokenizer,
            tuple(sorted(stop_ids)),
            context_length(config, settings),
            None if source is None else ChatTemplate(source, named),
            DataEncoder(tokenizer, named),
        )

    @property
    def has_chat_template(self) -> bool:
        return self._template is not None

    def encode(self, prompt: str, system: str = "") -> EncodedPrompt:
        """The ids of one user turn. Raises PromptRefused when there is nothing in the prompt, or the template refuses it."""
        began = time.perf_counter()
        if not prompt.strip():
            raise PromptRefused("The prompt is empty. Type something for the model to answer.")
        typed, typed_system = without_surrogates(prompt), without_surrogates(system)
        rendered = self._rendered(typed, typed_system)
        ids = self._encoder.encode(rendered, f"{typed_system}\n{typed}", add_special_tokens=not self.has_chat_template)
        if not ids:
            raise PromptRefused("The model's tokenizer makes no tokens of this prompt. Type some words.")
        warnings = []
        if (typed, typed_system) != (prompt, system):
            warnings.append(("prompt", "The prompt held broken characters (lone surrogates); each became U+FFFD."))
        if rendered.system_merged:
            warnings.append(
                ("system", "This model's chat template takes no system prompt; it stands before the prompt.")
            )
        return EncodedPrompt(rendered.text, tuple(ids), time.perf_counter() - began, tuple(warnings))

    def detokenizer(self) -> Detokenizer:
        """A new incremental detokenizer for one answer."""
        return Detokenizer(self.tokenizer, self.stop_ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a whole answer, without stop and other special tokens."""
        detokenizer = self.detokenizer()
        return detokenizer.add(ids) + detokenizer.finish()

    def fit(self, ids: Sequence[int], max_new_tokens: int) -> int:
        """How many new tokens there is room for, at most `max_new_tokens`. Raises PromptRefused when there is none."""
        if self.context_length is None:
            return max_new_tokens
        room = self.context_length - len(ids)
        if room < 1:
            raise PromptRefused(
                f"The prompt has {len(ids):,} tokens; this model's context holds {self.context_length:,}, "
                "the answer included. Shorten the prompt."
            )
        return min(max_new_tokens, room)

    def fit_warning(self, ids: Sequence[int], max_new_tokens: int) -> Notice | None:
        """What to tell the user when `fit` gives fewer new tokens than asked for."""
        given = self.fit(ids, max_new_tokens)
        if given == max_new_tokens:
            return None
        message = (
            f"After a prompt of {len(ids):,} tokens, the model's context of {self.context_length:,} leaves room for "
            f"{given:,} new tokens, not {max_new_tokens:,}."
        )
        return "context", message

    def _rendered(self, prompt: str, system: str) -> Rendered:
        if self._template is not None:
            return self._template.render(prompt, system)
        text = f"{system}\n\n{prompt}" if system.strip() else prompt
        return Rendered(text, ((0, len(text)),))


def without_surrogates(text: str) -> str:
    """`text` with lone surrogates, which no tokenizer takes, as U+FFFD; a pair of them becomes its character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
