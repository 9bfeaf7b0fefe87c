"""`python -m training.train`: trains the bundled model on a corpus of `training.corpus` and writes it as a Hugging Face folder.

Muon on the layers' matrices, AdamW on the rest; the learning rate warms up, stays, and falls to zero over the last
quarter. A checkpoint every few minutes; the same command resumes from it. Runs on a GPU where there is one.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import Phi3ForCausalLM

from training.batches import Batch, Samples, batches
from training.model import SIZES, new_model, save_folder

WARMUP_STEPS = 100
DECAY_SHARE = 0.25
CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training run depends on, besides its corpus."""

    size: str
    steps: int
    rows: int
    length: int
    lr: float
    weight_decay: float
    seed: int


def learning_rate(step: int, recipe: Recipe) -> float:
    """Warm-up, then constant, then linear to zero over the last `DECAY_SHARE` of the steps."""
    remaining = (recipe.steps - step) / max(1.0, DECAY_SHARE * recipe.steps)
    return recipe.lr * min(1.0, (step + 1) / WARMUP_STEPS, remaining)


def optimizers(model: Phi3ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (with AdamW's update size) for the layers' matrices, AdamW for embedding, head and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(
        matrices, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW(others, lr=recipe.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]


class Trainer:
    """A model in training on one device, with its optimisers and the number of steps done."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, device: str, compiled: bool) -> None:
        self.recipe, self.device, self.step = recipe, device, 0
        self.model = new_model(SIZES[recipe.size], tokenizer, recipe.seed).to(device)
        self.model.train()
        self.optimizers = optimizers(self.model, recipe)
        self.body = torch.compile(self.model.model, dynamic=False) if compiled else self.model.model

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy in nats over the labelled tokens; the head runs on those alone."""
        tokens, positions, labels, mask = (
            part.to(self.device) for part in (batch.tokens, batch.positions, batch.labels, batch.mask)
        )
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16):
            hidden = self.body(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False)[0]
            wanted = labels >= 0
            logits = self.model.lm_head(hidden[wanted])
        return cross_entropy(logits.float(), labels[wanted])

    def train_step(self, batch: Batch) -> float:
        """One update; returns the loss before it."""
        loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        rate = learning_rate(self.step, self.recipe)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write a checkpoint that replaces the last one only once it is whole."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]


def train(trainer: Trainer, samples: Samples, checkpoint: Path, checkpoint_s: float, stop_at: int) -> None:
    """Run to the step `stop_at`, with a progress bar and a checkpoint every `checkpoint_s` seconds."""
    recipe = trainer.recipe
    numbered = batches(samples, recipe.rows, recipe.length, recipe.seed)
    for _ in range(trainer.step):
        next(numbered)
    saved_at, smooth = time.monotonic(), math.nan
    with tqdm(total=stop_at, initial=trainer.step, desc="training", unit="step", mininterval=5) as bar:
        while trainer.step < stop_at:
            loss = trainer.train_step(samples.batch(*next(numbered)))
            smooth = loss if math.isnan(smooth) else 0.97 * smooth + 0.03 * loss
            bar.set_postfix_str(f"loss {smooth:.3f}", refresh=False)
            bar.update()
            if time.monotonic() - saved_at > checkpoint_s:
                trainer.save(checkpoint)
                saved_at = time.monotonic()
    trainer.save(checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket-phi3"), help="folder of the trained model")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("build/checkpoint.pt"), help="resumed from when it exists"
    )
    parser.add_argument("--checkpoint-s", type=float, default=300.0, help="seconds between checkpoints")
    parser.add_argument("--size", choices=SIZES, default="pocket")
    parser.add_argument("--steps", type=int, default=1900)
    parser.add_argument(
        "--stop-at", type=int, metavar="STEP", help="checkpoint and end here, to go on with another corpus"
    )
    parser.add_argument("--rows", type=int, default=32, help="rows of a batch")
    parser.add_argument("--length", type=int, default=256, help="tokens of a row")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-compile", action="store_true", help="skip torch.compile (needs no C++ compiler, runs slower)"
    )
    args = parser.parse_args()
    recipe = Recipe(args.size, args.steps, args.rows, args.length, args.lr, args.weight_decay, args.seed)
    tokenizer = Tokenizer.from_file(str(args.corpus / "tokenizer.json"))
    trainer = Trainer(recipe, tokenizer, "cuda" if torch.cuda.is_available() else "cpu", not args.no_compile)
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if args.checkpoint.exists():
        trainer.resume(args.checkpoint)
    stop_at = min(args.stop_at or args.steps, args.steps)
    train(trainer, Samples(args.corpus / "train.npz"), args.checkpoint, args.checkpoint_s, stop_at)
    if stop_at < args.steps:
        print(f"stopped at step {stop_at}; {args.checkpoint} goes on from there")
        return
    save_folder(trainer.model, tokenizer, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
