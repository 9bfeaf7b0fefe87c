"""`python -m training.evaluate`: asks a trained model what it never saw (greedy, fp32) and prints a table against the targets.

The questions are made anew from the corpus generator's held-out split, so no corpus needs to lie on disk.
"""

import argparse
import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from training.corpus import EVALUATION_PER_KIND, EVALUATION_SEED, SOURCES, held_out_samples, running_text
from training.offtopic import offtopic
from training.samples import Sample
from training.scoring import contains_key, has_repetition_loop, is_exact
from training.tokenizer import rendered

MAX_NEW_TOKENS = 400
BATCH_TOKENS = 6000
CARD_BEGIN = "<!-- evaluation: written by `python -m training.evaluate --card` -->"
CARD_END = "<!-- end of evaluation -->"
CARD_NOTE = (
    "Greedy, fp32, on the CPU. A fact counts when its key words stand in the answer, an exact task when the whole answer is right. The "
    "mixed prompts are held-out ones of all kinds, equally many of each, the off-topic ones held-out templates, fillers and singles."
)
TARGETS = {
    "facts: unseen phrasings with the key fact": 0.90,
    "exact tasks right": 0.90,
    "mixed prompts: stop within 400 tokens, no loop": 0.95,
    "off-topic prompts answered honestly": 0.90,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to `sample`: `ids` end with the stop token when `stopped`."""

    sample: Sample
    ids: list[int]
    text: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class Share:
    """`right` of `asked` answers passed."""

    right: int
    asked: int

    @property
    def value(self) -> float:
        return self.right / self.asked


class Model:
    """A Hugging Face folder on the CPU in fp32."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        stops = self.model.generation_config.eos_token_id
        self.stop_ids = set(stops if isinstance(stops, list) else [stops])

    def batches(self, samples: list[Sample]) -> Iterator[list[Sample]]:
        """`samples` by length, so that little of a batch is padding and a batch holds about `BATCH_TOKENS` tokens."""
        by_length = sorted(samples, key=lambda s: (len(s.answer) // 200, len(s.prompt)))
        batch: list[Sample] = []
        for sample in by_length:
            batch.append(sample)
            if len(batch) * (len(sample.prompt) + len(sample.answer)) / 4 > BATCH_TOKENS or len(batch) == 96:
                yield batch
                batch = []
        if batch:
            yield batch

    @torch.inference_mode()
    def answers(self, samples: list[Sample], what: str) -> Iterator[Answer]:
        """Greedy answers, not in the order of `samples`."""
        with tqdm(total=len(samples), desc=what) as bar:
            for batch in self.batches(samples):
                yield from self._answer_batch(batch)
                bar.update(len(batch))

    def _answer_batch(self, batch: list[Sample]) -> Iterator[Answer]:
        texts = [rendered(sample.prompt, sample.system) for sample in batch]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        output = self.model.generate(
            **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
        )
        for sample, row in zip(batch, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            end = next((at for at, token in enumerate(row) if token in self.stop_ids), None)
            ids = row if end is None else row[: end + 1]
            yield Answer(sample, ids, self.tokenizer.decode(ids, skip_special_tokens=True), end is not None)

    @torch.inference_mode()
    def perplexity(self, texts: Iterable[str]) -> float:
        """exp of the mean negative log-likelihood per token over `texts`, each scored from its begin token to its end token."""
        total, count = 0.0, 0
        for text in texts:
            ids = self.tokenizer(f"<s>{text}<|endoftext|>", return_tensors="pt", add_special_tokens=False)["input_ids"]
            loss = self.model(input_ids=ids, labels=ids).loss
            total, count = total + loss.item() * (ids.shape[1] - 1), count + ids.shape[1] - 1
        return math.exp(total / count)


def mixed_prompts(count: int) -> list[Sample]:
    """`count` held-out prompts, equally many of every kind that has prompts."""
    rng = random.Random(EVALUATION_SEED + 7)
    streams = [source(rng, True) for name, source in SOURCES.items() if name != "text"]
    return [next(streams[number % len(streams)]) for number in range(count)]


def offtopic_prompts(count: int) -> list[Sample]:
    return list(islice(offtopic(random.Random(EVALUATION_SEED + 8), held_out=True), count))


def held_out_texts(count: int) -> list[str]:
    return [sample.answer for sample in islice(running_text(random.Random(EVALUATION_SEED + 9), held_out=True), count)]


def tally(answers: Iterable[Answer]) -> dict[str, Share]:
    """Per task: how many answers were exactly right."""
    counts: dict[str, tuple[int, int]] = {}
    for answer in answers:
        right, asked = counts.get(answer.sample.kind, (0, 0))
        counts[answer.sample.kind] = (right + is_exact(answer.sample, answer.text), asked + 1)
    return {kind: Share(*count) for kind, count in sorted(counts.items())}


def share(passed: Iterable[bool]) -> Share:
    results = list(passed)
    return Share(sum(results), len(results))


def evaluate(model: Model, per_task: int, show_failures: int) -> tuple[dict[str, Share], dict[str, Share], float]:
    """The four targets' shares by name, the exact tasks' shares by task, and the perplexity of held-out stories."""
    samples = held_out_samples(EVALUATION_SEED, per_task)
    facts = list(model.answers([s for s in samples if s.kind == "fact"], "facts"))
    exact = list(model.answers([s for s in samples if s.kind.startswith("task:")], "tasks"))
    mix = list(model.answers(mixed_prompts(100), "mixed"))
    outside = list(model.answers(offtopic_prompts(50), "off-topic"))
    known, right = (contains_key(a.sample, a.text) for a in facts), (is_exact(a.sample, a.text) for a in exact)
    ended = (a.stopped and not has_repetition_loop(a.ids) for a in mix)
    honest = (contains_key(a.sample, a.text) for a in outside)
    results = dict(zip(TARGETS, map(share, (known, right, ended, honest)), strict=True))
    failures = [a for a in facts + outside if not contains_key(a.sample, a.text)]
    failures += [a for a in exact if not is_exact(a.sample, a.text)] + [
        a for a in mix if not a.stopped or has_repetition_loop(a.ids)
    ]
    for answer in failures[:show_failures]:
        print(json.dumps({"asked": answer.sample.prompt, "wanted": answer.sample.answer, "said": answer.text}))
    return results, tally(exact), model.perplexity(held_out_texts(40))


def as_table(results: dict[str, Share], tasks: dict[str, Share], perplexity: float) -> Table:
    """All figures as one table; the targets come first."""
    table = Table("Held-out evaluation (greedy, fp32)", "right", "asked", "share", "target")
    for name, result in results.items():
        met = "met" if result.value >= TARGETS[name] else "MISSED"
        table.add_row(name, str(result.right), str(result.asked), f"{result.value:.1%}", f"{TARGETS[name]:.0%} {met}")
    for name, result in tasks.items():
        table.add_row(f"  {name}", str(result.right), str(result.asked), f"{result.value:.1%}", "")
    table.add_row("perplexity per token of 40 held-out stories", "", "", f"{perplexity:.3f}", "")
    return table


def write_card(card: Path, table: Table) -> None:
    """Put the table between the evaluation's marks in a model card."""
    text = card.read_text(encoding="utf-8")
    head, rest = text.split(CARD_BEGIN, 1)
    _, tail = rest.split(CARD_END, 1)
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    lines = [
        [str(column.header) for column in table.columns],
        ["---"] * len(columns),
        *map(list, zip(*columns, strict=True)),
    ]
    made = "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines)
    card.write_text(
        f"{head}{CARD_BEGIN}\n\n## Evaluation\n\n{made}\n\n{CARD_NOTE}\n\n{CARD_END}{tail}", encoding="utf-8"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("assets/models/pocket-phi3"), help="Hugging Face folder")
    parser.add_argument(
        "--per-task", type=int, default=EVALUATION_PER_KIND, help="held-out instances of each exact task"
    )
    parser.add_argument("--show-failures", type=int, default=0, metavar="N", help="print the first N wrong answers")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--card", action="store_true", help="write the table into the model's MODEL_CARD.md")
    args = parser.parse_args()
    card = args.model / "MODEL_CARD.md"
    if args.card and not (card.is_file() and CARD_BEGIN in card.read_text(encoding="utf-8")):
        parser.error(f"{card} is not there, or has no marks for the evaluation")
    results, tasks, perplexity = evaluate(Model(args.model), args.per_task, args.show_failures)
    table = as_table(results, tasks, perplexity)
    Console(width=110).print(table)
    if args.card:
        write_card(card, table)
    if args.json:
        shares = {name: [result.right, result.asked] for name, result in (results | tasks).items()}
        args.json.write_text(
            json.dumps({"shares": shares, "perplexity": perplexity}, indent=2) + "\n", encoding="utf-8"
        )
    return 0 if all(result.value >= TARGETS[name] for name, result in results.items()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
