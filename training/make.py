"""`python -m training.make`: the bundled model from nothing, through all stages of `stages.yaml`; resumes where it was broken off.

`--toy` makes a tiny one in a minute instead, by the same commands.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from training.stages import stages

TOY_SAMPLES = 3000
TOY_STEPS = 40


def command(*words: str) -> None:
    """Run a command of this package and pass its output on. Raises CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-m", *words], check=True)


def make(work: Path, more: list[str]) -> None:
    """All stages with their corpora in `work`; `more` goes to every call of the training."""
    checkpoint = ["--checkpoint", str(work / "checkpoint.pt"), "--out", str(work / "pocket-phi3")]
    for number, stage in enumerate(stages(), 1):
        corpus = work / f"corpus-{number}"
        if not (corpus / "train.npz").exists():
            known = [] if number == 1 else ["--tokenizer", str(work / "corpus-1" / "tokenizer.json")]
            command("training.corpus", "--stage", str(number), "--out", str(corpus), *known)
        here = ["--corpus", str(corpus), "--steps", str(stage.schedule_steps), "--stop-at", str(stage.until_step)]
        command("training.train", *here, *checkpoint, *more)


def make_toy(work: Path, more: list[str]) -> None:
    """A model of two layers, trained for a few steps: it babbles, but everything about it is in order."""
    corpus = work / "corpus"
    command("training.corpus", "--samples", str(TOY_SAMPLES), "--vocab-size", "1024", "--out", str(corpus))
    where = ["--corpus", str(corpus), "--checkpoint", str(work / "checkpoint.pt"), "--out", str(work / "pocket-phi3")]
    command("training.train", "--size", "toy", "--steps", str(TOY_STEPS), "--rows", "4", "--no-compile", *where, *more)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.make", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--work", type=Path, default=Path("build"), help="corpora, checkpoint and model (default build)"
    )
    parser.add_argument("--toy", action="store_true", help="a tiny model in a minute")
    args, more = parser.parse_known_args()
    work = args.work or Path("build", "toy" if args.toy else "")
    try:
        (make_toy if args.toy else make)(work, more)
    except subprocess.CalledProcessError as problem:
        print(f"{' '.join(problem.cmd[2:4])} ended with status {problem.returncode}.", file=sys.stderr)
        return 1
    print(f"The model is in {work / 'pocket-phi3'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
