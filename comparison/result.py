"""A comparison as JSON, in the form of schema 1: what the command line writes, exports give and the API returns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.machine import machine_facts
from backends.models import model_digest
from comparison.contender import Contender
from comparison.lane_record import LaneRecord, Run
from comparison.metrics import METRICS, metrics
from comparison.statistics import summary
from comparison.text import without_surrogates
from comparison.timeline import Timeline
from comparison.version import VERSION

if TYPE_CHECKING:
    from comparison.engine import Comparison

SCHEMA = 1


def as_json(comparison: "Comparison") -> dict[str, Any]:
    """All of `comparison`. Keys and units are those of the design's contract; unknown figures are None."""
    request = comparison.request
    folder = comparison.model_folder
    return {
        "schema": SCHEMA,
        "id": comparison.id,
        "created": comparison.created.isoformat(timespec="seconds"),
        "app_version": VERSION,
        "machine": machine_facts(),
        "model": {
            "name": request.model.name,
            "source": request.model.source,
            "sha256": None if folder is None else model_digest(folder),
        },
        "mode": request.mode.value,
        "options": request.settings.as_json(),
        "lanes": [
            _lane(comparison, contender, shares)
            for contender, shares in zip(comparison.contenders, comparison.shares, strict=True)
        ],
    }


def _lane(comparison: "Comparison", contender: Contender, shares: Sequence[int]) -> dict[str, Any]:
    lane, record = contender.lane, contender.record
    runs = [_run(comparison, run) for run in record.runs]
    loaded, imported = record.loaded, record.imported
    return {
        "lane": str(lane),
        "backend": lane.backend,
        "precision": lane.precision,
        "compute_precision": loaded.compute_precision if loaded else None,
        "device": lane.device,
        "device_name": loaded.device_name if loaded else None,
        "threads": contender.threads,
        "options": dict(lane.options),
        "shares_device_with": list(shares),
        "status": record.status,
        "error": _error(record),
        "warnings": _warnings(record),
        "load_s": loaded.seconds if loaded else None,
        "warmup_s": record.warmup_s,
        "first_compile_s": loaded.first_compile_s if loaded else None,
        "cached_compile_s": loaded.cached_compile_s if loaded else None,
        "weights_bytes": record.weights_bytes,
        "baseline_rss_bytes": imported.rss_bytes if imported else None,
        "loaded_rss_bytes": loaded.rss_bytes if loaded else None,
        "peak_rss_bytes": record.peak_rss_bytes,
        "quality": None,
        "runs": runs,
        "summary": _summary(runs),
    }


def _error(record: LaneRecord) -> dict[str, str] | None:
    if record.error is None:
        return None
    return {"kind": record.error.kind, "message": str(record.error)}


def _warnings(record: LaneRecord) -> list[dict[str, str]]:
    """What was warned of; for a failed lane also the end of its worker's log, of kind "log"."""
    found = [*record.warnings]
    if record.error is not None and record.error.log_tail:
        found.append(("log", record.error.log_tail))
    return [{"kind": kind, "message": message} for kind, message in found]


def _run(comparison: "Comparison", run: Run) -> dict[str, Any]:
    plan = run.plan
    t0_ns = run.released_ns if run.t0_ns is None else run.t0_ns
    timeline = Timeline(t0_ns, tuple(run.token_ids), tuple(run.times_ns), len(plan.prompt_ids))
    return {
        "repeat": plan.repeat,
        "order": plan.order,
        "prompt": without_surrogates(comparison.request.prompts[plan.prompt]),
        "prompt_text": plan.prompt_text,
        "prompt_ids": list(plan.prompt_ids),
        "tokenize_s": plan.tokenize_s,
        "started_s": run.started_s,
        "token_ids": run.token_ids,
        "token_times_s": list(timeline.token_times_s),
        "text": comparison.text(run.token_ids),
        "finish_reason": run.finish_reason,
        **metrics(timeline),
        "cpu_s": run.cpu_s,
    }


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each metric over the runs that ended by themselves; a metric that none of them has is left out."""
    whole = [run for run in runs if run["finish_reason"] in ("stop", "length")]
    values = {name: [run[name] for run in whole if run[name] is not None] for name in (*METRICS, "cpu_s")}
    return {name: summary(found).as_json() for name, found in values.items() if found}
