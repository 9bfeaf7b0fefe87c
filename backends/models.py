"""Which model is meant: a name of the catalogue, a hub id or a folder in Hugging Face format."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from backends.base import ModelFormat
from backends.folders import ASSETS
from backends.hub_cache import local_snapshot
from backends.model_files import is_complete, model_digest

__all__ = ["CATALOGUE_FILE", "Model", "ReadyMade", "catalogue", "model_digest", "resolve_model"]

CATALOGUE_FILE = ASSETS / "models.yaml"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
Source = Literal["bundled", "catalogue", "hub", "folder"]


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """An export that a publisher offers. `device_kind` is `any`, `npu`, `cpu` or `dml`; `subfolder` may be empty."""

    format: ModelFormat
    precision: str
    device_kind: str
    hub_id: str
    subfolder: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """What a text names. `folder` is None as long as the weights are not on this machine."""

    name: str
    source: Source
    folder: Path | None = None
    hub_id: str | None = None
    revision: str | None = None
    exports: tuple[ReadyMade, ...] = ()
    label: str = ""
    licence: str = ""
    parameters: int | None = None
    context: int | None = None

    def export_for(self, format: ModelFormat, precision: str, device_kind: str) -> ReadyMade | None:
        """The ready-made export for this device kind, or for any where no closer one is named."""
        fitting = [each for each in self.exports if (each.format, each.precision) == (format, precision)]
        kinds = (device_kind,) if device_kind == "npu" else (device_kind, "any")
        return next((each for kind in kinds for each in fitting if each.device_kind == kind), None)


def catalogue() -> list[Model]:
    """The models of `assets/models.yaml`, in its order."""
    return [_from_entry(name, entry) for name, entry in _entries().items()]


def resolve_model(text: str) -> Model:
    """The model that `text` names. Touches no network. Raises ValueError with one sentence when it names none."""
    text = text.strip()
    for name, entry in _entries().items():
        if text.casefold() in (name.casefold(), str(entry.get("hub_id", name)).casefold()):
            return _from_entry(name, entry)
    if text and (folder := _existing_folder(text)):
        return _from_folder(folder)
    hub_id, _, revision = text.partition("@")
    if HUB_ID.fullmatch(hub_id):
        revision = revision or "main"
        return Model(hub_id, "hub", _weights(hub_id, revision), hub_id, revision, label=hub_id)
    known = ", ".join(_entries())
    raise ValueError(f"There is no model {text[:100]!r}: give a folder, a hub id (owner/name) or one of {known}.")


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    entries: dict[str, dict[str, Any]] = yaml.safe_load(CATALOGUE_FILE.read_text(encoding="utf-8"))
    return entries


def _from_entry(name: str, entry: Mapping[str, Any]) -> Model:
    facts = {key: entry[key] for key in ("label", "licence", "parameters", "context") if key in entry}
    if "folder" in entry:
        folder = ASSETS / entry["folder"]
        return Model(name, "bundled", folder if folder.is_dir() else None, **facts)
    hub_id, revision = entry["hub_id"], entry.get("revision", "main")
    exports = tuple(_ready_made(export) for export in entry.get("exports", ()))
    return Model(name, "catalogue", _weights(hub_id, revision), hub_id, revision, exports, **facts)


def _ready_made(export: Mapping[str, str]) -> ReadyMade:
    subfolder = export.get("subfolder", "")
    return ReadyMade(ModelFormat(export["format"]), export["precision"], export["device"], export["hub_id"], subfolder)


def _existing_folder(text: str) -> Path | None:
    try:
        folder = Path(text).expanduser().resolve()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, somebody's unknown home, a null character
        return None


def _from_folder(folder: Path) -> Model:
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no model in Hugging Face format: it has no config.json.")
    return Model(folder.name, "folder", folder, label=folder.name)


def _weights(hub_id: str, revision: str) -> Path | None:
    folder = local_snapshot(hub_id, revision)
    return folder if folder is not None and is_complete(folder) else None
