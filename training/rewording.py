"""Other ways to ask what a thing is, and how two things differ: the same question from patterns that any subject fits."""

import random
import re

NAME = r"(?!(?:what|how|why|when|where|whether|if|it|they|this|that|there|the difference)\b)[\w .,+/()'<>|-]{2,40}?"
ASKS_WHAT = re.compile(
    rf"^(?:(?:what (?:is|are)|explain|define|describe|tell me about)\s+(?P<thing>{NAME})"
    rf"|what does\s+(?P<word>{NAME})\s+mean)"
    r"(?:\s+(?:to me|please|in simple words))?[?.]?$",
    re.IGNORECASE,
)
NO_NAME = re.compile(r"\b(?:for|do|does|work|works|of|to|used|like|good|in|on|with)$", re.IGNORECASE)
ASKS_DIFFERENCE = re.compile(
    r"^what is the difference between (?P<a>[\w .+/-]{2,30}) and (?P<b>[\w .+/-]{2,30})\?$", re.IGNORECASE
)
ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
WHAT = (
    "What is {x}?", "What's {x}?", "Explain {x}.", "Define {x}", "Describe {x}", "Tell me about {x}", "What does {k} mean?",
    "{k} meaning", "{k} definition", "{k} explained", "{k} in simple words", "{k}?", "meaning of {k}", "what is {k}",
    "Can you explain {x}?", "Can you tell me what {x} is?", "Could you tell me what {x} means?", "Please explain {x}.",
    "Please tell me what {x} is.", "Help me understand {x}.", "I heard about {x}, what is it?", "What do you know about {x}?",
    "What exactly is {x}?", "What is meant by {k}?", "What does the word {k} mean?", "Give me a definition of {k}.",
    "I am new here. What is {x}?", "How would you explain {x} to a beginner?", "Could you introduce {k} to a beginner?",
    "What is {x} when people talk about language models?", "I keep reading about {k}. What is it?", "overview of {k}",
)  # fmt: skip
DIFFERENCE = (
    "{a} vs {b}", "{a} versus {b}", "{a} or {b}", "{a} or {b}?", "How do {a} and {b} differ?", "Compare {a} and {b}.",
    "How is {a} different from {b}?", "{a} and {b} difference", "{a} compared to {b}", "What distinguishes {a} from {b}?",
    "What is the difference between {b} and {a}?", "Explain the difference between {a} and {b}.", "{b} vs {a}",
)  # fmt: skip


def reworded(rng: random.Random, question: str) -> str:
    """`question` from another pattern, or as it is when it fits none."""
    if found := ASKS_DIFFERENCE.match(question):
        a, b = (ARTICLE.sub("", found[name]) for name in ("a", "b"))
        return rng.choice(DIFFERENCE).format(a=a, b=b)
    if (found := ASKS_WHAT.match(question)) and not NO_NAME.search(thing := (found["thing"] or found["word"]).strip()):
        return rng.choice(WHAT).format(x=thing, k=ARTICLE.sub("", thing))
    return question
