"""`python -m backends list`, `install` and `doctor` as a user runs them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from backends.base import Availability, Status
from backends.folders import REPOSITORY
from backends.list_command import print_table
from backends.registry import BACKENDS, backend_class
from tests.backends.broken_runtimes import RUNTIMES, path_with

RUNTIME_BACKENDS = [name for name in BACKENDS if backend_class(name).runtime_modules]


def run(*arguments: str, data: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PHOTOFINISH_DATA_DIR": str(data), "COLUMNS": "200"}
    if path:
        environment["PYTHONPATH"] = path
    command = [sys.executable, "-m", "backends", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=REPOSITORY,
        env=environment,
        check=False,
        timeout=280,
    )


def rows(result: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    assert result.returncode == 0, result.stderr
    listed: list[dict[str, str]] = json.loads(result.stdout)["rows"]
    return listed


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which every real runtime was probed."""
    folder = tmp_path_factory.mktemp("probed")
    result = run("list", "--json", data=folder)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return folder


@pytest.fixture(scope="module")
def listed(probed: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("list", "--json", data=probed).stdout)
    return document


def test_every_backend_and_precision_is_listed(listed: dict[str, Any]) -> None:
    assert listed["schema"] == 1
    said = {(row["backend"], row["precision"]) for row in listed["rows"]}
    assert said == {(name, precision) for name in BACKENDS for precision in backend_class(name).precisions}
    for row in listed["rows"]:
        assert row["status"] in set(Status)
        assert row["reason"] or row["status"] == "ready"
        assert "\n" not in row["reason"]


def test_the_installed_runtimes_work_on_the_cpu(listed: dict[str, Any]) -> None:
    usable = {row["backend"] for row in listed["rows"] if row["device"] == "CPU"
              and row["status"] in ("ready", "needs preparation") and row["device_name"]}  # fmt: skip
    assert usable == set(BACKENDS)


def test_devices_of_another_system_are_unavailable(listed: dict[str, Any]) -> None:
    if sys.platform == "win32":
        pytest.skip("DirectML belongs to Windows")
    directml = [row for row in listed["rows"] if row["device"].startswith("DML")]
    assert directml
    assert {row["status"] for row in directml} == {"unavailable"}
    assert all("Windows" in row["reason"] for row in directml)


def test_what_must_be_prepared_says_how(listed: dict[str, Any]) -> None:
    unprepared = [row for row in listed["rows"] if row["status"] == "needs preparation"]
    assert {"openvino-optimum", "openvino-genai", "onnxruntime-genai"} <= {row["backend"] for row in unprepared}
    for row in unprepared:
        lane = f"{row['backend']}:{row['precision']}:{row['device']}"
        assert row["command"].startswith("python -m backends prepare --model pocket-phi3 --lane")
        assert lane in row["command"]


def test_the_machine_is_described(listed: dict[str, Any]) -> None:
    machine = listed["machine"]
    assert set(machine) == {"cpu", "cores", "memory_bytes", "os", "python", "devices", "packages"}
    assert machine["cpu"]
    assert machine["cores"]["logical"] == os.cpu_count()
    assert machine["memory_bytes"] > 2**30
    assert {"torch", "transformers", "openvino", "onnxruntime-genai"} <= set(machine["packages"])
    assert "CPU" in {device["device"] for device in machine["devices"]}
    assert "no device at all" not in {device["name"] for device in machine["devices"]}


def test_the_cache_answers_at_once(probed: Path) -> None:
    """Measured in CPU seconds, where the system tells them: other tests run at the same time."""
    tells = sys.platform != "win32"
    seconds = []
    for _ in range(3):
        start_s, before = time.perf_counter(), os.times()
        assert run("list", data=probed).returncode == 0
        after = os.times()
        cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
        seconds.append(cpu_s if tells else time.perf_counter() - start_s)
    assert min(seconds) < 1.0


def test_a_pipe_gets_one_plain_line_per_lane(probed: Path, listed: dict[str, Any]) -> None:
    lines = run("list", data=probed).stdout.splitlines()
    assert all(line.isprintable() for line in lines)
    for row in listed["rows"]:
        lane = f"{row['backend']}:{row['precision']}:{row['device']}"
        (line,) = [line for line in lines if line.split()[:1] == [lane]]
        assert row["status"] in line
        if row["status"] in ("not installed", "unavailable"):
            assert row["reason"] in line


def test_the_report_of_the_doctor(probed: Path) -> None:
    result = run("doctor", data=probed)
    assert (result.returncode, result.stderr) == (0, "")
    for word in (
        "| CPU |",
        "| Memory |",
        "| Disk of the data folder |",
        "| `scripted:fp32:CPU` | ready |",
        "| torch |",
    ):
        assert word in result.stdout
    tables = [block.splitlines() for block in result.stdout.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 3
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A path on which no runtime loads."""
    return path_with(tmp_path_factory.mktemp("broken"), "raise ImportError('DLL load failed')", *RUNTIMES)


def test_broken_native_libraries_are_rows_and_refresh_asks_again(broken: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = rows(run("list", "--json", data=data, path=broken))
    assert {row["backend"] for row in first if row["status"] == "unavailable"} == set(RUNTIME_BACKENDS)
    assert {row["reason"] for row in first if row["status"] == "unavailable"} == {"ImportError: DLL load failed"}

    missing = path_with(tmp_path / "missing", "import no_such_runtime", *RUNTIMES)
    assert rows(run("list", "--json", data=data, path=missing)) == first, "the cache holds"
    again = rows(run("list", "--json", "--refresh", data=data, path=missing))
    assert {row["backend"] for row in again if row["status"] == "not installed"} == set(RUNTIME_BACKENDS)
    assert all(row["command"].startswith("pip install") for row in again if row["status"] == "not installed")


def test_a_data_folder_that_cannot_be_made_is_no_obstacle(broken: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    result = run("list", data=tmp_path / "file" / "data", path=broken)
    assert "Traceback" not in result.stderr
    assert "scripted:fp32:CPU" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "COMMAND"),
        (("frobnicate",), "frobnicate"),
        (("list", "--model", "no such model"), "There is no model 'no such model'"),
        (("install",), "NAME"),
        (("install", "torch"), "There is no backend 'torch'. Backends: transformers"),
        (("install", "transformers"), "is not optional"),
        (("install", "scripted"), "needs nothing installed."),
    ],
)
def test_unusable_arguments_are_explained(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = run(*arguments, data=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_leaves_early_is_no_error(probed: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "backends", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PHOTOFINISH_DATA_DIR": str(probed)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_narrow_terminal_wraps_the_notes_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    reason = "a long sentence about what is wrong here, [with brackets] that are not markup"
    same = tuple(Availability("CPU", "", precision, Status.UNAVAILABLE, reason) for precision in ("fp32", "bf16"))
    print_table({"transformers": same}, "pocket-phi3")
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
    assert max(map(len, lines)) <= 70
    assert [line for line in lines if "transformers:" in line]
    text = " ".join(" ".join(lines).split())
    assert text.count("[with brackets]") == 1
    assert "transformers:fp32:CPU unavailable" in text
