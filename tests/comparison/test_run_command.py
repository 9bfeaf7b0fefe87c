"""`python -m comparison run` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GOOD = "scripted@rate=500@tokens=20"


@pytest.fixture
def command(bundled_model: Path) -> list[str]:
    return [sys.executable, "-m", "comparison", "run", "--model", str(bundled_model)]


def finished(command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)


def test_a_finished_comparison_exits_with_0_and_writes_the_contract(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "with space and ü" / "result.json"
    file.parent.mkdir()
    done = finished(command, "--lane", GOOD, "--lane", GOOD, "--prompt", "Hello", "--repeats", "3", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert "decode tok/s" in done.stdout
    assert "scripted" in done.stdout
    result = json.loads(file.read_text())
    assert result["schema"] == 1
    assert set(result) == {"schema", "id", "created", "app_version", "machine", "model", "mode", "options", "lanes"}
    assert {"cpu", "cores", "memory_bytes", "os", "python", "devices", "packages"} <= set(result["machine"])
    lane = result["lanes"][1]
    assert lane["lane"] == "scripted:fp32:CPU@rate=500@tokens=20"
    assert lane["shares_device_with"] == [0]
    assert [run["repeat"] for run in lane["runs"]] == [0, 1, 2]
    assert set(lane["summary"]["ttft_s"]) == {"median", "low", "high", "n"}
    assert lane["summary"]["decode_tokens_per_s"]["n"] == 3
    assert lane["quality"] is None


def test_a_failed_lane_exits_with_1_and_the_others_results_are_there(command: list[str], tmp_path: Path) -> None:
    bad = "scripted@fail=raise@fail-at=3@rate=500"
    done = finished(command, "--lane", GOOD, "--lane", bad, "--prompt", "Hello", "--json", str(tmp_path / "r.json"))
    assert done.returncode == 1
    assert "told to fail" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    lanes = json.loads((tmp_path / "r.json").read_text())["lanes"]
    assert [lane["status"] for lane in lanes] == ["finished", "failed"]
    assert set(lanes[1]["error"]) == {"kind", "message"}
    (log,) = [warning["message"] for warning in lanes[1]["warnings"] if warning["kind"] == "log"]
    assert "ValueError: told to fail" in log


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lane", "nonsense", "--prompt", "x"],
        ["--lane", "scripted@speed=3", "--prompt", "x"],
        ["--lane", "scripted:int3", "--prompt", "x"],
        ["--lane", GOOD, "--prompt", "   "],
        ["--lane", GOOD, "--prompts", "no/such/file.txt"],
        ["--lane", GOOD, "--prompt", "x", "--max-new-tokens", "0"],
        ["--lane", GOOD, "--prompt", "x", "--temperature", "-1"],
        ["--lane", GOOD, "--prompt", "x", "--top-p", "nan"],
        ["--lane", GOOD, "--prompt", "x", "--repeats", "0"],
        ["--lane", GOOD, "--prompt", "x", "--timeout", "0"],
        ["--lane", GOOD, "--prompt", "x", "--json", "no/such/folder/r.json"],
        *[["--lane", GOOD] * 17 + ["--prompt", "x"]],
    ],
)
def test_unusable_arguments_exit_with_2_and_one_line(command: list[str], arguments: list[str]) -> None:
    done = finished(command, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_an_unknown_model_exits_with_2_and_one_line() -> None:
    command = [sys.executable, "-m", "comparison", "run", "--model", "no-such-model"]
    done = finished(command, "--lane", GOOD, "--prompt", "x")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_prompts_come_from_a_set_by_name_from_json_and_from_lines(command: list[str], tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one\n\ntwo\n", encoding="utf-8")
    done = finished(command, "--lane", GOOD, "--prompts", str(lines), "--json", "-")
    assert [run["prompt"] for run in json.loads(done.stdout)["lanes"][0]["runs"]] == ["one", "two"]
    done = finished(command, "--lane", "scripted@rate=1000@tokens=2", "--prompts", "booth", "--json", "-")
    assert len(json.loads(done.stdout)["lanes"][0]["runs"]) == 32


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as SIGINT")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_stops_the_lanes_and_still_writes_what_was_measured(
    command: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ["--lane", "scripted@rate=50@tokens=5000", "--prompt", "x", "--json", str(tmp_path / "r.json")]
    with subprocess.Popen([*command, *arguments], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "streaming" in line:
                break
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(20) == 1
    lane = json.loads((tmp_path / "r.json").read_text())["lanes"][0]
    assert lane["status"] == "cancelled"
    assert len(lane["runs"][0]["token_ids"]) > 5


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_parent_leaves_no_worker_even_in_a_long_native_call(command: list[str]) -> None:
    arguments = ["--lane", "scripted@fail=native-hang@fail-at=6@rate=500", "--prompt", "x"]
    with subprocess.Popen([*command, *arguments], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "streaming" in line:
                break
        time.sleep(0.3)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []


def test_sampled_runs_are_marked_and_each_repeat_draws_anew(command: list[str]) -> None:
    sampling = ("--temperature", "1", "--seed", "3", "--repeats", "2", "--max-new-tokens", "24", "--ignore-eos")
    done = finished(command, "--lane", "transformers", "--prompt", "Tell a story", *sampling, "--json", "-")
    (lane,) = json.loads(done.stdout)["lanes"]
    assert [warning["kind"] for warning in lane["warnings"]] == ["sampling"]
    assert lane["runs"][0]["token_ids"] != lane["runs"][1]["token_ids"]


def test_the_answer_is_shown(command: list[str]) -> None:
    done = finished(command, "--lane", "transformers", "--prompt", "What is an NPU?", "--max-new-tokens", "8")
    assert "An NPU" in done.stdout


def test_a_device_that_the_backend_does_not_have_is_refused(command: list[str]) -> None:
    done = finished(command, "--lane", "transformers:fp32:GPU", "--prompt", "x", "--json", "-")
    (lane,) = json.loads(done.stdout)["lanes"]
    assert (lane["status"], lane["error"]["kind"]) == ("unavailable", "unavailable")


def test_an_unusable_data_folder_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = os.environ | {"PHOTOFINISH_DATA_DIR": str(tmp_path / "file" / "x")}
    arguments = [*command, "--lane", GOOD, "--prompt", "x"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, env=environment)
    assert done.returncode == 2
    assert "PHOTOFINISH_DATA_DIR" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
