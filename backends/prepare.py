"""Turns a model into what a lane's backend loads: the folder itself, a ready-made export, or an export made here once.

Imports no runtime: the second call for the same thing must be over at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.base import ModelFormat
from backends.download import ensure_local, ensure_ready_made, local_ready_made
from backends.errors import LaneError, PreparationFailed
from backends.exporting import Exported, existing_export, export_all
from backends.folders import data_folder
from backends.job import PreparationStopped
from backends.lane import Lane
from backends.manifest import Manifest, file_facts, read_manifest
from backends.model_files import check_model, model_digest
from backends.models import HUB_ID, Model, ReadyMade, resolve_model
from backends.progress import Progress, Reporter
from backends.ready_made import UNKNOWN, check_ready_made, read_precision
from backends.recipes import device_kind, recipe_for
from backends.tokenizer_json import has_only_a_slow_tokenizer, tokenizer_json

__all__ = ["PreparationStopped", "Prepared", "Progress", "is_prepared", "prepare", "prepare_many"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a backend loads. `reused`: it was there already."""

    folder: Path
    manifest: Manifest
    reused: bool


def prepare(
    model: Model,
    lane: Lane,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    verify: bool = False,
) -> Prepared:
    """Prepare `model` for `lane`. `verify` compares hashes, not only sizes and times.

    Raises PreparationFailed or OutOfMemory with one sentence, and PreparationStopped when `should_stop` said so.
    """
    (outcome,) = prepare_many(model, [lane], on_progress, should_stop, verify)
    if isinstance(outcome, LaneError):
        raise outcome
    return outcome


def prepare_many(
    model: Model,
    lanes: Sequence[Lane],
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    verify: bool = False,
) -> list[Prepared | LaneError]:
    """As `prepare`, for several lanes: those of one format share one import. A lane that fails leaves its error in its place."""
    report = Reporter(on_progress, should_stop)
    outcomes: dict[int, Prepared | LaneError] = {}
    to_export: list[int] = []
    for index, lane in enumerate(lanes):
        try:
            found = _without_export(model, lane, report, verify)
        except PreparationStopped:
            raise
        except LaneError as problem:
            outcomes[index] = problem
            continue
        if found is None:
            to_export.append(index)
        else:
            outcomes[index] = found
    if to_export:
        exported = _export(model, [lanes[index] for index in to_export], report, verify)
        outcomes |= dict(zip(to_export, exported, strict=True))
    return [outcomes[index] for index in range(len(lanes))]


def is_prepared(model: str, lane: Lane) -> bool:
    """Whether `lane` could load `model` at once, without a download or an export."""
    try:
        found = resolve_model(model)
        if lane.cls.format in (ModelFormat.NONE, ModelFormat.HUGGING_FACE) or "from" in lane.options:
            return lane.cls.format is ModelFormat.NONE or found.folder is not None
        if found.folder is not None and existing_export(found, recipe_for(lane)) is not None:
            return True
        offered = found.export_for(lane.cls.format, lane.precision, device_kind(lane))
        return offered is not None and local_ready_made(offered) is not None
    except (ValueError, LaneError):
        return False


def _without_export(model: Model, lane: Lane, report: Reporter, verify: bool) -> Prepared | None:
    """What `lane` can load without exporting; None where an export must be made."""
    format = lane.cls.format
    if format is ModelFormat.NONE:
        return Prepared(model.folder or data_folder(), _manifest(model, lane, data_folder(), list_files=False), True)
    if "from" in lane.options:
        return _given(model, lane, str(lane.options["from"]), report)
    if format is ModelFormat.HUGGING_FACE:
        return _as_it_is(model, lane, report)
    if model.folder is not None and (found := existing_export(model, recipe_for(lane), verify)) is not None:
        return Prepared(found.folder, found.manifest, True)
    return _offered(model, lane, report)


def _offered(model: Model, lane: Lane, report: Reporter) -> Prepared | None:
    """The export that the catalogue names, downloaded; None where there is none, or none to be had while the weights are here."""
    offered = model.export_for(lane.cls.format, lane.precision, device_kind(lane))
    if offered is None:
        return None
    try:
        return _from_hub(model, lane, offered, report)
    except PreparationStopped:
        raise
    except PreparationFailed:
        if model.folder is None:
            raise
        return None


def _as_it_is(model: Model, lane: Lane, report: Reporter) -> Prepared:
    was_local = model.folder is not None
    folder = _local_folder(model, report)
    return Prepared(folder, _manifest(model, lane, folder), was_local)


def _local_folder(model: Model, report: Reporter) -> Path:
    folder = ensure_local(model, report).folder
    assert folder is not None
    check_model(folder)
    if has_only_a_slow_tokenizer(folder):
        tokenizer_json(folder, report)
    return folder


def _given(model: Model, lane: Lane, text: str, report: Reporter) -> Prepared:
    """The ready-made export that the lane names: a folder, or owner/name[/subfolder] on the hub."""
    folder = Path(text).expanduser()
    if folder.is_dir():
        check_ready_made(folder, lane.cls.format)
        return _ready_made(model, lane, folder.resolve(), str(folder))
    owner_and_name, subfolder = "/".join(text.split("/")[:2]), "/".join(text.split("/")[2:])
    if not HUB_ID.fullmatch(owner_and_name):
        raise PreparationFailed(f"@from={text} is neither a folder nor a hub id (owner/name).")
    offered = ReadyMade(lane.cls.format, lane.precision, "any", owner_and_name, subfolder)
    return _from_hub(model, lane, offered, report)


def _from_hub(model: Model, lane: Lane, offered: ReadyMade, report: Reporter) -> Prepared:
    was_local = local_ready_made(offered) is not None
    folder = ensure_ready_made(offered, report)
    return _ready_made(model, lane, folder, f"{offered.hub_id}/{offered.subfolder}".rstrip("/"), was_local)


def _ready_made(model: Model, lane: Lane, folder: Path, origin: str, reused: bool = True) -> Prepared:
    precision = read_precision(folder, lane.cls.format)
    notes = []
    if lane.precision not in (UNKNOWN, precision) and precision != UNKNOWN:
        notes.append(f"The lane says {lane.precision}, but the export in {folder.name} says {precision}.")
    recorded = read_manifest(folder)
    if (
        recorded is not None
        and model.folder is not None
        and recorded.source.get("sha256") != model_digest(model.folder)
    ):
        notes.append(
            f"The export in {folder.name} was made of {recorded.source.get('name')}, not of this {model.name}."
        )
    made = _manifest(model, lane, folder)
    source = {**made.source, "ready_made": origin}
    return Prepared(folder, replace(made, precision=precision, source=source, notes=tuple(notes)), reused)


def _manifest(model: Model, lane: Lane, folder: Path, list_files: bool = True) -> Manifest:
    source = {"name": model.name, "hub_id": model.hub_id, "revision": model.revision}
    files = file_facts(folder, hashed=False) if list_files else {}
    return Manifest(lane.cls.format.value, lane.precision, source, files=files)


def _export(model: Model, lanes: Sequence[Lane], report: Reporter, verify: bool) -> list[Prepared | LaneError]:
    """Export for `lanes`, those with the same recipe once."""
    recipes = [recipe_for(lane) for lane in lanes]
    try:
        local = replace(model, folder=_local_folder(model, report))
        made = export_all(local, {recipe.name: recipe for recipe in recipes}.values(), report, verify)
    except PreparationStopped:
        raise
    except LaneError as problem:
        return [problem] * len(lanes)
    outcomes = (made[recipe.name] for recipe in recipes)
    return [
        Prepared(each.folder, each.manifest, each.reused) if isinstance(each, Exported) else each for each in outcomes
    ]
