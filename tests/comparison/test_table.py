"""The table of a finished comparison, as a terminal and as a file get it."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from comparison.table import duration, print_table, size


def lane(name: str, **values: Any) -> dict[str, Any]:
    finished = {
        "lane": name,
        "backend": name.split(":")[0],
        "status": "finished",
        "error": None,
        "warnings": [],
        "shares_device_with": [],
        "threads": 2,
        "compute_precision": "fp32",
        "device_name": "Some CPU",
        "load_s": 2.437,
        "warmup_s": 18.5,
        "weights_bytes": 27_600_000,
        "peak_rss_bytes": 1_234_000_000,
        "runs": [{"token_ids": list(range(64)), "finish_reason": "length"}],
        "summary": {
            "ttft_s": {"median": 0.0512, "low": 0.0498, "high": 0.0533, "n": 5},
            "decode_tokens_per_s": {"median": 412.3, "low": None, "high": None, "n": 2},
            "itl_p50_s": {"median": 0.00243, "low": 0.00243, "high": 0.00243, "n": 5},
            "itl_p95_s": {"median": 0.0031, "low": None, "high": None, "n": 1},
        },
    }
    return finished | values


FAILED = lane(
    "onnxruntime-genai:int4:CPU@threads=1",
    status="failed",
    error={"kind": "killed", "message": "The worker was killed (signal 9)."},
    runs=[],
    summary={},
    load_s=None,
    warmup_s=None,
    peak_rss_bytes=None,
)
SCRIPTED = lane(
    "scripted:fp32:CPU@rate=50@tokens=750", warnings=[{"kind": "prompt", "message": "U+FFFD stands in it."}]
)
SHARING = [
    lane("openvino-genai:int4:CPU", shares_device_with=[1]),
    lane("transformers:fp32:CPU", shares_device_with=[0]),
]


def printed(*lanes: dict[str, Any], width: int = 80) -> str:
    file = io.StringIO()
    model = {"name": "pocket-phi3"}
    comparison = {"id": "c1", "model": model, "mode": "race", "lanes": list(lanes)}
    print_table(comparison, Console(file=file, width=width))
    return file.getvalue()


def row(text: str, name: str) -> list[str]:
    """The cells of the row `name`, its first line."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return re.split(r"\s{2,}", line.removeprefix(name).strip())


def test_a_lane_is_a_column_of_its_figures() -> None:
    text = printed(lane("transformers:fp32:CPU"), lane("openvino-genai:int4:CPU@threads=2", threads=2))
    assert text.splitlines()[0] == "c1, pocket-phi3, race"
    assert row(text, "status") == ["finished", "finished"]
    assert row(text, "load")[0] == "2.44 s"
    assert row(text, "warm-up")[0] == "18.5 s"
    assert row(text, "TTFT")[0] == "51.2 ms"
    assert row(text, "decode tok/s")[0] == "412"
    assert row(text, "ITL p50")[0] == "2.43 ms"
    assert row(text, "ITL p95")[0] == "3.10 ms"
    assert row(text, "tokens")[0] == "64"
    assert row(text, "peak memory")[0] == "1.23 GB"
    assert row(text, "weights")[0] == "28 MB"
    assert "49.8 ms to 53.3 ms" in text
    assert "length" in text
    for part in ("transformers", "openvino-genai", "int4", "@threads=2"):
        assert part in text


def test_a_failed_lane_says_why_beneath() -> None:
    text = printed(lane("transformers:fp32:CPU"), FAILED)
    assert row(text, "status") == ["finished", "failed"]
    assert row(text, "decode tok/s") == ["412", "-"]
    assert "1: failed (killed): The worker was killed (signal 9)." in text


def test_scripted_lanes_are_labelled() -> None:
    text = printed(SCRIPTED)
    assert row(text, "status") == ["finished"]
    assert "(scripted)" in text
    assert "scripted: tokens and timing come from a script, not from a model." in text
    assert "0: prompt: U+FFFD stands in it." in text
    assert "not from a model" not in printed(lane("transformers:fp32:CPU"))


def test_lanes_that_share_a_device_are_marked() -> None:
    text = printed(*SHARING)
    assert row(text, "shares device") == ["with 1", "with 0"]
    assert "solo mode" in text.replace("\n", " ")
    assert "shares device" not in printed(lane("transformers:fp32:CPU"))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_eight_lanes_stay_within_the_terminal_and_lose_nothing(width: int) -> None:
    lanes = [lane(f"onnxruntime-genai:int4:CPU@threads={threads}") for threads in range(1, 9)]
    text = printed(*lanes, width=width)
    assert max(map(len, text.splitlines())) <= width
    for threads in range(1, 9):
        assert f"@threads={threads}" in text
    assert text.count("onnxruntime-genai") == 8
    assert text.count("49.8 ms to 53.3 ms") == 8


def test_a_file_gets_plain_text() -> None:
    assert "\x1b" not in printed(lane("transformers:fp32:CPU"), FAILED)


def test_what_a_runtime_says_cannot_steer_the_terminal_or_the_layout() -> None:
    error = {"kind": "load", "message": "\x1b[2J[bold]no[/bold] [/] \x07bell"}
    text = printed(lane("transformers:fp32:CPU", status="failed", error=error))
    assert "\ufffd[2J[bold]no[/bold] [/] \ufffdbell" in text


def test_no_lanes_and_no_values_are_still_a_table() -> None:
    bare = {"lane": "transformers:fp32:CPU", "status": "unavailable"}
    assert row(printed(bare), "status") == ["unavailable"]
    assert "c1" in printed()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 ms"), (0.000123, "0.12 ms"), (0.0123, "12.3 ms"), (0.5, "500 ms"), (1.234, "1.23 s"), (123.4, "123 s")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_read_well() -> None:
    assert (size(27_600_000), size(2_700_000_000)) == ("28 MB", "2.70 GB")
