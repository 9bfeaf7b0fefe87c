"""The engine on real runtimes: the bundled model in every backend at once, and models that only some backends can run."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from comparison.lane_events import LaneEvent, TokensArrived
from tests.comparison.engine_runs import Told, request, run

pytestmark = pytest.mark.timeout(600)

LANES = ("transformers:fp32", "openvino-optimum:int8", "openvino-genai:int8", "onnxruntime-genai:int4")


def texts(result: dict[str, Any]) -> list[str]:
    return [lane["runs"][0]["text"] for lane in result["lanes"]]


def test_all_runtimes_race_on_the_bundled_model(bundled_model: Path) -> None:
    result = run(request(bundled_model, *LANES, max_new_tokens=48, repeats=2))
    for lane in result["lanes"]:
        assert lane["status"] == "finished", lane["error"]
        assert lane["device_name"]
        assert lane["compute_precision"]
        assert 0 < lane["baseline_rss_bytes"] <= lane["loaded_rss_bytes"] <= lane["peak_rss_bytes"]
        assert lane["weights_bytes"] > 1_000_000
        assert lane["load_s"] > 0
        assert lane["warmup_s"] > 0
        for run_ in lane["runs"]:
            assert run_["prompt_ids"] == result["lanes"][0]["runs"][0]["prompt_ids"]
            assert run_["finish_reason"] in ("stop", "length")
            assert run_["cpu_s"] > 0
    for round_ in range(2):
        starts = [lane["runs"][round_]["started_s"] for lane in result["lanes"]]
        assert max(starts) - min(starts) < 0.020
    assert result["model"]["sha256"]
    assert all(texts(result))


def test_the_two_openvino_backends_run_the_same_export_to_the_same_tokens(bundled_model: Path) -> None:
    lanes = ("openvino-optimum:int8:CPU@arithmetic=f32", "openvino-genai:int8:CPU@arithmetic=f32")
    first, second = run(request(bundled_model, *lanes, mode="solo", max_new_tokens=32))["lanes"]
    assert first["runs"][0]["token_ids"] == second["runs"][0]["token_ids"]
    assert first["weights_bytes"] == second["weights_bytes"]


def test_a_runtime_killed_in_the_middle_does_not_disturb_the_others(bundled_model: Path) -> None:
    def kill(index: int, event: LaneEvent) -> None:
        if index == 1 and isinstance(event, TokensArrived) and not killed:
            workers = [child for child in psutil.Process().children() if "backends.worker" in " ".join(child.cmdline())]
            killed.append(max(workers, key=lambda worker: worker.create_time()))
            killed[0].kill()

    killed: list[psutil.Process] = []
    told = Told(react=kill)
    lanes = ("onnxruntime-genai:int4", "transformers:fp32")
    result = run(request(bundled_model, *lanes, max_new_tokens=400, ignore_eos=True), told)
    good, dead = result["lanes"]
    assert (good["status"], dead["status"]) == ("finished", "failed")
    assert dead["error"]["kind"] == "killed"
    assert len(good["runs"][0]["token_ids"]) == 400
    assert 0 < len(dead["runs"][0]["token_ids"]) < 400
