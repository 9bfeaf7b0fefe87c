"""`manifest.json`: how an export came about, and what its files must look like to be loaded again."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from backends.json_file import read_json, write_json
from backends.model_files import sha256

MANIFEST = "manifest.json"
SCHEMA = 1
NO_WEIGHTS = ("openvino_tokenizer.bin", "openvino_detokenizer.bin")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".onnx", ".onnx.data", ".onnx_data")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of an export. `sha256` is empty where nobody needs it."""

    bytes: int
    mtime_ns: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where a folder that a backend loads came from. `flags` are the exporter's, `notes` are for the user to see."""

    format: str
    precision: str
    source: Mapping[str, Any]
    flags: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    made: str = ""
    files: Mapping[str, FileFacts] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(facts.bytes for facts in self.files.values())

    @property
    def weights_bytes(self) -> int:
        """The weights alone."""
        return sum(facts.bytes for name, facts in self.files.items() if _holds_weights(name))


def _holds_weights(name: str) -> bool:
    return name.endswith(WEIGHT_SUFFIXES) and Path(name).name not in NO_WEIGHTS


def file_facts(folder: Path, hashed: bool) -> dict[str, FileFacts]:
    """The files in `folder` and below, the manifest and hidden ones excepted."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name != MANIFEST and not name.startswith("."):
            facts = file.stat()
            found[name] = FileFacts(facts.st_size, facts.st_mtime_ns, sha256(file) if hashed else "")
    return found


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Complete `manifest` with the files of `folder`, hashed, and write it there."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    complete = replace(manifest, files=file_facts(folder, hashed=True), made=manifest.made or made)
    write_json(folder / MANIFEST, {"schema": SCHEMA, **_plain(complete), "bytes": complete.bytes})
    return complete


def _plain(manifest: Manifest) -> dict[str, Any]:
    plain = {each.name: getattr(manifest, each.name) for each in fields(manifest)}
    files = {name: asdict(facts) for name, facts in manifest.files.items()}
    return plain | {"notes": list(manifest.notes), "files": files}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in `folder`; None when there is none or it cannot be understood."""
    content = read_json(folder / MANIFEST)
    if content.pop("schema", None) != SCHEMA:
        return None
    content.pop("bytes", None)
    try:
        files = {name: FileFacts(**facts) for name, facts in content.pop("files").items()}
        return Manifest(**content | {"notes": tuple(content.pop("notes")), "files": files})
    except (KeyError, TypeError, AttributeError):
        return None


def whole(folder: Path, manifest: Manifest, verify: bool = False) -> bool:
    """Whether the files are those of `manifest`: by size and time, and by hash where a time differs or `verify` asks.

    Times that differ over equal content (a copied folder) are written down anew.
    """
    touched = False
    for name, expected in manifest.files.items():
        try:
            facts = (folder / name).stat()
        except OSError:
            return False
        if facts.st_size != expected.bytes:
            return False
        moved = facts.st_mtime_ns != expected.mtime_ns
        touched |= moved
        if (moved or verify) and sha256(folder / name) != expected.sha256:
            return False
    if touched:
        write_manifest(folder, manifest)
    return bool(manifest.files)
