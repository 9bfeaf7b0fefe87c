"""What a worker may say, and how its end is explained."""

import json
from typing import Any

import pytest

from backends.errors import LaneError, ProtocolBroken
from comparison.worker_ending import ending_error
from comparison.worker_events import Failed, Finished, Tokens, read_event

FINISHED = {"event": "finished", "request": 1, "finish_reason": "stop", "cpu_s": 1, "rss_bytes": 2, "peak_rss_bytes": 3}


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_events_are_read_with_their_types() -> None:
    assert read_event(line(event="tokens", request=2, ids=[5, 6], times_ns=[10, 10])) == Tokens(2, (5, 6), (10, 10))
    assert read_event(line(**FINISHED)) == Finished(1, "stop", 1.0, 2, 3)
    failed = read_event(line(event="failed", request=None, kind="load", message="no\nsuch  file"))
    assert failed == Failed(None, "load", "no such file")
    assert isinstance(failed, Failed)
    assert failed.error.kind == "load"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"hello", "hello"),
        (b"", "no message"),
        (b"[]", "no message"),
        (b"\xff\xfe", "no message"),
        (b"[" * 100_000, "no message"),
        (b'{"event":"nonsense"}', "nonsense"),
        (b'{"op":"load"}', "event"),
        (line(event="started", request=1), "t0_ns"),
        (line(event="started", request=1, t0_ns=1.5), "1.5 where a whole number belongs"),
        (line(event="started", request=True, t0_ns=1), "True where a whole number belongs"),
        (line(event="tokens", request=1, ids=[1, 2], times_ns=[1]), "2 ids with 1 times"),
        (line(event="tokens", request=1, ids=[1, 2], times_ns=[2, 1]), "times that go back"),
        (line(event="tokens", request=1, ids=[], times_ns=[]), "no tokens"),
        (line(event="tokens", request=1, ids=["a"], times_ns=[1]), "'a' where a whole number belongs"),
        (line(event="tokens", request=1, ids=7, times_ns=[1]), "7 where a list belongs"),
        (line(**FINISHED | {"finish_reason": "bored"}), "finish reason 'bored'"),
        (line(**FINISHED | {"cpu_s": float("nan")}), "nan where a number belongs"),
        (line(event="failed", request=1, kind="odd", message="x"), "kind 'odd'"),
        (line(event="failed", request=1, kind=["odd"], message="x"), "the worker"),
        (line(event="imported", pid=1, seconds=1, rss_bytes=1, packages=[1]), "packages"),
    ],
)
def test_anything_else_breaks_the_protocol_and_is_quoted(said: bytes, words: str) -> None:
    with pytest.raises(ProtocolBroken) as caught:
        read_event(said)
    assert words.lower() in str(caught.value).lower()
    assert len(str(caught.value)) < 250


def ending(exit_code: int | None, half_line: bool = False, asked: bool = False) -> LaneError:
    return ending_error(exit_code, half_line=half_line, asked=asked)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ending(-9), "killed", "SIGKILL), perhaps for want of memory"),
        (ending(-9, half_line=True), "killed", "SIGKILL"),
        (ending(-15), "killed", "SIGTERM"),
        (ending(-11), "crash", "SIGSEGV"),
        (ending(-200), "crash", "unknown signal (signal 200)"),
        (ending(0), "crash", "exit code 0"),
        (ending(0, half_line=True), "protocol", "in the middle of a message"),
        (ending(3, half_line=True), "crash", "exit code 3"),
        (ending(0xC0000005), "crash", "exit code 0xC0000005, access violation"),
        (ending(-9, asked=True), "killed", "because the app asked for it"),
    ],
)
def test_the_end_of_a_worker_is_explained(error: LaneError, kind: str, words: str) -> None:
    assert error.kind == kind
    assert words in str(error)
