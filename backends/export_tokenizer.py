"""Turns a slow tokenizer (`tokenizer.model` and other formats) into a `tokenizer.json`, in a process of its own."""

from pathlib import Path
from typing import Any

from backends.job_child import Events, run_child
from backends.offline import offline


def convert(job: dict[str, Any], events: Events) -> None:
    """Write `tokenizer.json` of the model in `job["model"]` into `job["folder"]`."""
    events.stage("importing", message="importing transformers")
    from transformers import AutoTokenizer

    events.stage("converting", message="converting the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(
        job["model"], trust_remote_code=False, local_files_only=True, use_fast=True
    )
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"there is no fast form of {type(tokenizer).__name__}")
    tokenizer.backend_tokenizer.save(str(Path(job["folder"]) / "tokenizer.json"))
    events.made(0)


if __name__ == "__main__":
    run_child(convert, offline)
