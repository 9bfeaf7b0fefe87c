"""`python -m training.corpus`: writes the training text of one stage and the tokenizer.

Output folder: `tokenizer.json`, and `train.npz` with all training samples as token ids. What is held out is decided by the text
itself, so the evaluation makes it anew (`held_out_samples`).
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from training.facts import fact_questions, facts
from training.lists import lists
from training.offtopic import context, offtopic
from training.samples import Sample, bare
from training.stages import Stage, stages
from training.stories import stories
from training.tasks import TASKS, task, tasks
from training.tokenizer import rendered, train_tokenizer

SYSTEM_PROMPTS = (
    "You are a helpful AI assistant.", "You are a helpful assistant.", "You are a friendly assistant.", "Be concise.",
    "You are Pocket Phi, a small model that runs on this computer.", "Answer in simple words.", "You answer visitors at a booth.",
    "You are a helpful AI assistant. Answer briefly.", "You are an expert on AI PCs.", "Answer politely and honestly.",
)  # fmt: skip
EVALUATION_SEED, EVALUATION_PER_KIND = 2, 40
"""What `held_out_samples` is called with by the evaluation, and by every corpus to leave those very prompts out."""
SYSTEM_SHARE = 0.3
CONTEXT_SHARE = 0.06
"""Of the facts, stories and lists: how many come after a sentence about something else, as many off-topic questions do."""
INTRODUCTIONS = (
    "",
    "Read this first.",
    "Here is some text.",
    "Background:",
    "Some context before my question.",
    "Notes from the booth:",
)
TURNS = (
    "",
    "Now my question: ",
    "Question: ",
    "After all that, my question is this: ",
    "Forget the text above. ",
    "So, ",
)


def running_text(rng: random.Random, held_out: bool = False) -> Iterator[Sample]:
    """Plain text without a question: a story, or a few facts in a row. Held-out text is stories only, about subjects that
    training never sees; they are told by the same grammar."""
    tales = stories(rng, held_out, new_wordings=False)
    while True:
        if held_out or rng.random() < 0.6:
            yield Sample("text", "", next(tales).answer)
        else:
            yield Sample("text", "", "\n\n".join(fact.answer for fact in rng.sample(facts(), rng.randint(2, 5))))


def after_long_text(rng: random.Random, held_out: bool = False) -> Iterator[Sample]:
    """A question of any kind that comes after a long text it has nothing to do with (20 to 700 words)."""
    asks = {"fact": 5, "task": 3, "offtopic": 1, "story": 1}
    streams, tales = {name: SOURCES[name](rng, held_out) for name in asks}, stories(rng, held_out)
    while True:
        asked = next(streams[rng.choices(list(asks), list(asks.values()))[0]])
        others = [context(rng) for _ in range(rng.randint(2, 12))]
        if rng.random() < 0.5:
            others = [fact.answer for fact in rng.sample(facts(), rng.randint(1, 8))]
            others += [next(tales).answer for _ in range(rng.choice((0, 0, 1, 2)))]
            rng.shuffle(others)
        text = rng.choice((" ", "\n", "\n\n")).join([rng.choice(INTRODUCTIONS), *others]).strip()
        yield replace(
            asked,
            kind="long",
            prompt=f"{text}{rng.choice((' ', chr(10), chr(10) * 2))}{rng.choice(TURNS)}{asked.prompt}",
        )


SOURCES = {
    "fact": fact_questions,
    "task": tasks,
    "story": stories,
    "list": lists,
    "offtopic": offtopic,
    "text": running_text,
    "long": after_long_text,
}


def mixed(stage: Stage, seed: int, held_out: bool = False) -> Iterator[Sample]:
    """Endless samples of all kinds in the proportions of `stage`, some under a system prompt."""
    rng = random.Random(seed)
    streams = {name: source(rng, held_out) for name, source in SOURCES.items()}
    streams["task"] = tasks(rng, held_out, stage.tasks)
    names, weights = list(stage.kinds), list(stage.kinds.values())
    while True:
        sample = next(streams[rng.choices(names, weights)[0]])
        if sample.kind in ("fact", "story", "list") and rng.random() < CONTEXT_SHARE:
            sample = replace(sample, prompt=f"{context(rng)} {sample.prompt}")
        if sample.prompt and rng.random() < SYSTEM_SHARE:
            sample = replace(sample, system=rng.choice(SYSTEM_PROMPTS))
        yield sample


def held_out_samples(seed: int, per_kind: int) -> list[Sample]:
    """The evaluation's questions: every held-out phrasing of a fact, and `per_kind` samples of each other kind and task."""
    rng = random.Random(seed)
    asked = [
        Sample("fact", question, fact.answer, fact.key) for fact in facts() for question in fact.split(held_out=True)
    ]
    for name in TASKS:
        unique = {sample.prompt: sample for sample in (task(rng, name, held_out=True) for _ in range(per_kind * 4))}
        asked += list(unique.values())[:per_kind]
    for name in ("story", "list", "offtopic", "text", "long"):
        stream = SOURCES[name](rng, True)
        asked += [next(stream) for _ in range(per_kind)]
    return asked


def encoded(tokenizer: Tokenizer, samples: list[Sample]) -> dict[str, np.ndarray]:
    """`samples` as flat arrays: `tokens` (uint16), and per sample its `length` and how many of its tokens are `prompt`."""
    end, text_end = tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|endoftext|>")
    prompts = tokenizer.encode_batch([rendered(s.prompt, s.system) if s.prompt else "<s>" for s in samples])
    answers = tokenizer.encode_batch([s.answer for s in samples])
    tokens, length, prompt = [], [], []
    for sample, before, answer in zip(samples, prompts, answers, strict=True):
        ids = before.ids + answer.ids + [end if sample.prompt else text_end]
        tokens.append(np.array(ids, dtype=np.uint16))
        length.append(len(ids))
        prompt.append(len(before.ids))
    return {"tokens": np.concatenate(tokens), "length": np.array(length), "prompt": np.array(prompt)}


def build(folder: Path, stage: Stage, samples: int, vocab_size: int, tokenizer_file: Path | None) -> None:
    """Write the corpus of `stage` into `folder`, with a tokenizer of its own unless `tokenizer_file` names one."""
    folder.mkdir(parents=True, exist_ok=True)
    held_out = held_out_samples(EVALUATION_SEED, EVALUATION_PER_KIND)
    kept_away = {bare(sample.prompt) for sample in held_out if sample.prompt}
    stream = (sample for sample in mixed(stage, stage.seed) if bare(sample.prompt) not in kept_away)
    corpus = [next(stream) for _ in tqdm(range(samples), desc="samples", unit="")]
    if tokenizer_file is None:
        tokenizer = train_tokenizer((f"{s.prompt}\n{s.answer}" for s in corpus[:60_000]), vocab_size)
    else:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.save(str(folder / "tokenizer.json"))
    parts = [
        encoded(tokenizer, corpus[at : at + 10_000])
        for at in tqdm(range(0, samples, 10_000), desc="tokens", unit="x10k")
    ]
    tokens, length, prompt = (np.concatenate([part[name] for part in parts]) for name in ("tokens", "length", "prompt"))
    unfinished = folder / "unfinished.npz"
    np.savez(unfinished, tokens=tokens, length=length, prompt=prompt)
    unfinished.replace(folder / "train.npz")
    total = sum(int(part["length"].sum()) for part in parts)
    print(f"{samples:,} samples, {total:,} tokens, vocabulary {tokenizer.get_vocab_size()}, {len(facts())} facts")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.corpus", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--stage", type=int, default=1, metavar="N", help="which stage of stages.yaml (default 1)")
    parser.add_argument("--out", type=Path, default=Path("build/corpus"), help="folder to write (default build/corpus)")
    parser.add_argument("--samples", type=int, help="default: as many as the stage has")
    parser.add_argument("--tokenizer", type=Path, help="use this tokenizer.json instead of training one")
    parser.add_argument("--vocab-size", type=int, default=4096)
    args = parser.parse_args()
    stage = stages()[args.stage - 1]
    build(args.out, stage, args.samples or stage.samples, args.vocab_size, args.tokenizer)


if __name__ == "__main__":
    main()
