"""`python -m training.prompt_sets`: writes the prompt sets that only the corpus generator can make.

`exact_tasks.json`: held-out instances with their right answers. `heldout.txt`: running text that training never saw.
"""

import argparse
import json
import random
from itertools import islice
from pathlib import Path

from training.corpus import running_text
from training.tasks import TASKS, task

SEED = 11
PER_TASK = 8
TEXTS = 40


def exact_tasks(rng: random.Random, per_task: int) -> list[dict[str, str]]:
    """`per_task` different held-out instances of every task."""
    found = []
    for name in TASKS:
        unique = {sample.prompt: sample for sample in (task(rng, name, held_out=True) for _ in range(per_task * 5))}
        for number, sample in enumerate(list(unique.values())[:per_task], 1):
            found.append({"id": f"{name}-{number}", "task": name, "prompt": sample.prompt, "answer": sample.answer})
    return found


def write(folder: Path) -> None:
    """Write both files into `folder`, the same ones every time."""
    content = {
        "schema": 1,
        "name": "Exact tasks",
        "description": "Small tasks with one right answer each. The bundled model's training has none of these prompts; of the "
        "multiplication table and the spelling tasks only the wording is new to it.",
        "tasks": exact_tasks(random.Random(SEED), PER_TASK),
    }
    (folder / "exact_tasks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    texts = [sample.answer for sample in islice(running_text(random.Random(SEED), held_out=True), TEXTS)]
    (folder / "heldout.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.prompt_sets", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--out", type=Path, default=Path("assets/prompts"))
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
