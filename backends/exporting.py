"""Exports in the data folder: found again when they are whole, made in a process of their own when they are not.

A target is written beside its place and put there in one step, under a lock: nobody ever loads half of one.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from backends.base import ModelFormat
from backends.errors import LaneError, PreparationFailed
from backends.folders import data_folder
from backends.job import POLL_S, Event, PreparationStopped, run_job
from backends.manifest import Manifest, read_manifest, whole, write_manifest
from backends.model_files import model_digest, parameter_count
from backends.models import Model
from backends.progress import Reporter
from backends.recipes import Recipe, outdated, tool_versions
from backends.space import check_space

EXPORTERS = {ModelFormat.OPENVINO: "backends.export_openvino", ModelFormat.ONNX_GENAI: "backends.export_onnx"}
LABELS = {ModelFormat.OPENVINO: "OpenVINO", ModelFormat.ONNX_GENAI: "ONNX"}


@dataclass(frozen=True, slots=True)
class Exported:
    """An export in its place."""

    folder: Path
    manifest: Manifest
    reused: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where the export of a model by a recipe belongs."""

    model: Model
    digest: str
    recipe: Recipe
    folder: Path


def existing_export(model: Model, recipe: Recipe, verify: bool = False) -> Exported | None:
    """The whole and loadable export of `model`, whose folder is local, by `recipe`."""
    return _existing(_target(model, _digest(model, Reporter()), recipe), verify)


def export_all(
    model: Model, recipes: Iterable[Recipe], report: Reporter, verify: bool = False
) -> dict[str, Exported | LaneError]:
    """Export `model`, whose folder is local, by each recipe where that was not done yet; the outcomes by the recipe's name."""
    digest = _digest(model, report)
    targets = sorted((_target(model, digest, recipe) for recipe in recipes), key=lambda target: target.recipe.name)
    outcomes: dict[str, Exported | LaneError] = {}
    with _locked(targets, report):
        for target in targets:
            if (found := _existing(target, verify)) is not None:
                outcomes[target.recipe.name] = found
            elif target.folder.exists():
                report.stage("checking", message=f"{target.recipe.name} is damaged or out of date and is made anew")
        missing = [target for target in targets if target.recipe.name not in outcomes]
        for _, group in groupby(missing, key=lambda target: target.recipe.format):
            outcomes |= _export_group(list(group), report)
    return outcomes


def _target(model: Model, digest: str, recipe: Recipe) -> Target:
    name = re.sub(r"[^\w.-]+", "--", model.name)[:80]
    return Target(model, digest, recipe, data_folder() / "models" / f"{name}-{digest[:12]}" / recipe.name)


def _existing(target: Target, verify: bool) -> Exported | None:
    manifest = read_manifest(target.folder)
    if (
        manifest is None
        or manifest.source.get("sha256") != target.digest
        or dict(target.recipe.flags) != manifest.flags
    ):
        return None
    if outdated(target.recipe, manifest.tools) or not whole(target.folder, manifest, verify):
        return None
    return Exported(target.folder, manifest, reused=True)


def _digest(model: Model, report: Reporter) -> str:
    assert model.folder is not None
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        if report.should_stop():
            raise PreparationStopped("Stopped; nothing half-made was left.")
        if done % (64 * 1024 * 1024) < count:
            report.stage("hashing", None, f"reading the model: {done / 1e6:,.0f} MB")

    return model_digest(model.folder, on_bytes)


@contextmanager
def _locked(targets: Sequence[Target], report: Reporter) -> Iterator[None]:
    """Hold the locks of all targets, taken in their order, so that two preparations never wait for each other in a circle."""
    locks = [FileLock(str(target.folder) + ".lock") for target in targets]
    taken: list[FileLock] = []
    try:
        for target, lock in zip(targets, locks, strict=True):
            target.folder.parent.mkdir(parents=True, exist_ok=True)
            _acquire(lock, target, report)
            taken.append(lock)
        yield
    finally:
        for lock in taken:
            lock.release()


def _acquire(lock: FileLock, target: Target, report: Reporter) -> None:
    while True:
        try:
            lock.acquire(timeout=POLL_S)
        except Timeout:
            if report.should_stop():
                raise PreparationStopped("Stopped; nothing half-made was left.") from None
            report.stage("waiting", None, f"another process is making {target.recipe.name}")
        else:
            return


def _export_group(targets: Sequence[Target], report: Reporter) -> dict[str, Exported | LaneError]:
    """Make targets of one format in one process."""
    first = targets[0]
    assert first.model.folder is not None
    work = first.folder.with_name(f".{first.recipe.name}.making")
    try:
        shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed; its lock is ours now
        check_space([target.recipe for target in targets], parameter_count(first.model.folder), first.folder.parent)
        (work / "tmp").mkdir(parents=True)
        return _run_exporter(targets, work, report)
    except PreparationStopped:
        raise
    except LaneError as problem:
        return {target.recipe.name: problem for target in targets}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_exporter(targets: Sequence[Target], work: Path, report: Reporter) -> dict[str, Exported | LaneError]:
    first = targets[0]
    log = data_folder() / "logs" / f"export-{first.folder.parent.name}-{first.recipe.name}.log"
    outcomes: dict[str, Exported | LaneError] = {}

    def on_event(event: Event) -> None:
        if event.get("event") not in ("made", "failed"):
            report.on_event(event)
            return
        target = targets[event["index"]]
        if event["event"] == "failed":
            outcomes[target.recipe.name] = _failure(target, event["message"], log)
            return
        report.stage("saving", None, f"putting {target.recipe.name} in its place")
        made = work / target.recipe.name
        outcomes[target.recipe.name] = _put_in_place(target, made, event["notes"], event["seconds"])

    scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work / "tmp"))
    try:
        run_job(EXPORTERS[first.recipe.format], _job(targets, work), log, on_event, report.should_stop, scratch)
    except PreparationStopped:
        raise
    except PreparationFailed as problem:
        for target in targets:
            outcomes.setdefault(target.recipe.name, _failure(target, str(problem), log))
    return outcomes


def _job(targets: Sequence[Target], work: Path) -> dict[str, Any]:
    outputs = [
        {"index": index, "folder": str(work / target.recipe.name), "flags": dict(target.recipe.flags)}
        for index, target in enumerate(targets)
    ]
    return {"op": "export", "model": str(targets[0].model.folder), "work": str(work), "outputs": outputs}


def _failure(target: Target, reason: str, log: Path) -> PreparationFailed:
    what = f"{target.model.name} could not be exported for {LABELS[target.recipe.format]} at {target.recipe.precision}"
    failure = PreparationFailed(f"{what}: {reason} (log: {log}).")
    failure.log_tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    return failure


def _put_in_place(target: Target, made: Path, notes: Sequence[str], seconds: float) -> Exported:
    model = target.model
    source = {"name": model.name, "hub_id": model.hub_id, "revision": model.revision, "sha256": target.digest}
    manifest = Manifest(
        format=target.recipe.format.value,
        precision=target.recipe.precision,
        source=source,
        flags=dict(target.recipe.flags),
        tools=tool_versions(target.recipe.tools),
        notes=tuple(notes),
        seconds=round(seconds, 3),
    )
    complete = write_manifest(made, manifest)
    if target.folder.exists():
        target.folder.replace(made.with_name("damaged-" + made.name))
    made.replace(target.folder)
    return Exported(target.folder, complete, reused=False)
