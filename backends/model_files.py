"""The files of a model in Hugging Face format: which count, whether they are all there, how large, and their digest."""

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from backends.errors import PreparationFailed
from backends.folders import data_folder
from backends.json_file import read_json, write_json

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
"""What a model is made of; documents and pickled weights are no part of it."""
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
MAX_HEADER_BYTES = 100 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024


def model_files(folder: Path) -> list[Path]:
    """The files of the model in `folder`, sorted by name."""
    found = {file for pattern in PATTERNS for file in folder.glob(pattern) if file.is_file()}
    return sorted(found, key=lambda file: file.name)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights; those that the index names but that are missing are in it too."""
    if (index := folder / "model.safetensors.index.json").is_file():
        shards = set(read_json(index).get("weight_map", {}).values())
        return [folder / str(shard) for shard in sorted(shards)]
    return sorted(folder.glob("*.safetensors"))


def is_complete(folder: Path) -> bool:
    """Whether the weights are all there."""
    try:
        check_model(folder)
    except PreparationFailed:
        return False
    return True


def check_model(folder: Path) -> None:
    """Raises PreparationFailed, with what to do, unless `folder` has a config and all its weights as safetensors."""
    if not (folder / "config.json").is_file():
        raise PreparationFailed(f"{folder} is no model in Hugging Face format: it has no config.json.")
    weights = weight_files(folder)
    if missing := [file.name for file in weights if not file.is_file()]:
        raise PreparationFailed(f"The model in {folder} is incomplete: {', '.join(missing[:3])} is missing.")
    if weights:
        return
    if any(True for pattern in PICKLED for _ in folder.glob(pattern)):
        raise PreparationFailed(
            f"The weights in {folder} are pickled files, which can run code when they are opened: "
            "convert them to safetensors first."
        )
    raise PreparationFailed(f"There are no weights in {folder}: it needs model.safetensors.")


def parameter_count(folder: Path) -> int:
    """How many parameters the weights hold, from the headers of the safetensors files alone."""
    return sum(math.prod(shape) for file in weight_files(folder) for shape in _shapes(file))


def _shapes(file: Path) -> Iterator[list[int]]:
    with file.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, MAX_HEADER_BYTES)))
            yield from (entry["shape"] for name, entry in header.items() if name != "__metadata__")
        except (struct.error, ValueError, KeyError, AttributeError, TypeError) as problem:
            raise PreparationFailed(f"{file} is no safetensors file, or it is damaged.") from problem


def model_digest(folder: Path, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """The sha256 of the sorted (file name, sha256) list. Hashes are kept by size and time: only changed files are read.

    `on_bytes` hears how many more bytes were read, and may raise to stop.
    """
    memory = data_folder() / "digests" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"
    known = read_json(memory) if memory.is_file() else {}
    files: dict[str, dict[str, object]] = {}
    for file in model_files(folder):
        facts = file.stat()
        stamp = {"bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns}
        before = known.get(file.name)
        same = isinstance(before, dict) and {key: before.get(key) for key in stamp} == stamp and "sha256" in before
        files[file.name] = before if same and isinstance(before, dict) else stamp | {"sha256": sha256(file, on_bytes)}
    if files != known:
        write_json(memory, files)
    listing = "".join(f"{name}\0{files[name]['sha256']}\n" for name in sorted(files))
    return hashlib.sha256(listing.encode()).hexdigest()


def sha256(file: Path, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()
