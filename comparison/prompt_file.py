"""Reads prompts from a file: a prompt set in the schema of `assets/prompts/README.md`, or plain text with one prompt a line."""

import json
from pathlib import Path

from backends.folders import ASSETS
from comparison.request import BadRequest

MAX_BYTES = 20 * 1024 * 1024


def read_prompts(name: str) -> tuple[str, ...]:
    """The prompts of the file `name`, or of the set of that name in `assets/prompts`. Raises BadRequest with one sentence."""
    path = _find(name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadRequest(f"{path} is larger than {MAX_BYTES // 1024**2} MB; that is no prompt file.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise BadRequest(f"The prompt file {name} cannot be read: {problem.strerror}.") from problem
    except UnicodeDecodeError as problem:
        raise BadRequest(f"The prompt file {name} is not UTF-8 text.") from problem
    prompts = _from_set(path, text) if path.suffix == ".json" else [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise BadRequest(f"The prompt file {name} has no prompts in it.")
    return tuple(prompts)


def _find(name: str) -> Path:
    bundled = ASSETS / "prompts" / f"{name}.json"
    return bundled if name.replace("_", "").isalnum() and bundled.is_file() else Path(name)


def _from_set(path: Path, text: str) -> list[str]:
    try:
        content = json.loads(text)
        entries = content["prompts"] if "prompts" in content else content["tasks"]
        prompts = [entry["prompt"] for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise BadRequest(f"{path} is no prompt set: see assets/prompts/README.md for the form.") from problem
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise BadRequest(f"{path} is no prompt set: every prompt must be a text.")
    return prompts
