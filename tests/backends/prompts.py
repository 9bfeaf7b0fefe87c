"""Eight prompts as token ids."""

from pathlib import Path

from comparison.text import PromptText

QUESTIONS = (
    "What is an NPU?",
    "What does INT4 quantisation do to a model?",
    "Tell me a short story about a lighthouse.",
    "How does a GPU differ from a CPU?",
    "What is 17 plus 25?",
    "Sort these numbers: 8, 3, 5, 1.",
    "Can you introduce yourself?",
    "Why would I run a language model on my own machine?",
)


def eight_prompts(model: Path) -> list[list[int]]:
    """`QUESTIONS` in the model's chat template, as the app encodes them."""
    text = PromptText.from_folder(model)
    return [list(text.encode(question).ids) for question in QUESTIONS]
