"""A `tokenizer.json` for every model: its own, or one made once from a slow tokenizer."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from backends.errors import PreparationFailed
from backends.folders import data_folder
from backends.job import run_job
from backends.model_files import PATTERNS, sha256
from backends.progress import Reporter

NAME = "tokenizer.json"
SLOW = ("*.model", "vocab.*", "*.tiktoken")
ABOUT_IT = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")


def has_only_a_slow_tokenizer(folder: Path) -> bool:
    """Whether the model in `folder` has a tokenizer, but no `tokenizer.json`."""
    return not (folder / NAME).is_file() and any(file.name not in ABOUT_IT for file in _sources(folder))


def _sources(folder: Path) -> list[Path]:
    return sorted({file for pattern in (*SLOW, *ABOUT_IT) for file in folder.glob(pattern) if file.is_file()})


def tokenizer_json(folder: Path, report: Reporter | None = None) -> Path:
    """The `tokenizer.json` of the model in `folder`. Made in the data folder where the model ships only a slow format.

    Raises PreparationFailed when the model has no tokenizer that can be converted.
    """
    if (own := folder / NAME).is_file():
        return own
    if not has_only_a_slow_tokenizer(folder):
        raise PreparationFailed(
            f"The model in {folder} has no tokenizer: it needs a tokenizer.json or a tokenizer.model."
        )
    identity = "".join(f"{file.name}\0{sha256(file)}\n" for file in _sources(folder))
    target = data_folder() / "tokenizers" / hashlib.sha256(identity.encode()).hexdigest()[:32] / NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target.parent) + ".lock"):
        if not target.is_file():
            _convert(folder, target, report or Reporter())
    return target


def _convert(folder: Path, target: Path, report: Reporter) -> None:
    log = data_folder() / "logs" / f"tokenizer-{folder.name}.log"
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        try:
            job = {"op": "convert", "model": str(_text_only(folder, Path(work))), "folder": work}
            run_job("backends.export_tokenizer", job, log, report.on_event, report.should_stop)
        except PreparationFailed as problem:
            if type(problem) is not PreparationFailed:
                raise
            raise PreparationFailed(f"The tokenizer in {folder} could not be converted: {problem}.") from problem
        (Path(work) / NAME).replace(target)


def _text_only(folder: Path, work: Path) -> Path:
    """The model without its weights: transformers then has no reason to look at them."""
    copy = work / "model"
    copy.mkdir()
    for pattern in (*PATTERNS, "vocab.*"):
        for file in folder.glob(pattern):
            if file.is_file() and file.suffix != ".safetensors":
                shutil.copyfile(file, copy / file.name)
    return copy
