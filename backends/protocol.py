"""The messages between the app and a worker: one JSON object a line, UTF-8, over the worker's stdin and stdout.

To the worker, `op` says what to do:

    load      backend, model, precision, device, threads, cache, options            once, first
    generate  request, prompt_ids, options (of GenerationOptions), go_at_ns | null  starts at go_at_ns on the common clock
    cancel    request
    close

From the worker, `event` says what happened:

    imported  pid, seconds, rss_bytes, packages {name: version}
    loaded    seconds, rss_bytes, device_name, compute_precision, warnings [[kind, message]], first_compile_s, cached_compile_s
    started   request, t0_ns
    tokens    request, ids, times_ns                       the first at once, then at most every 10 ms
    finished  request, finish_reason (stop | length | cancelled), cpu_s, rss_bytes, peak_rss_bytes
    failed    request | null, kind, message                null: the load failed, the worker ends

All times are `time.perf_counter_ns`, a clock that all processes of a machine share. This module imports nothing but the
standard library, so that a worker under another interpreter can use it.
"""

import json
from typing import Any

MAX_LINE_BYTES = 64 * 1024 * 1024
FLUSH_NS = 10_000_000
"""Token events of one request are at least this far apart, the first two excepted."""


def encode(message: dict[str, Any]) -> bytes:
    """`message` as one line, newline included."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line. Raises ValueError, quoting the line's beginning, when it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"no message: {line[:80]!r}") from problem
    if not isinstance(message, dict) or not isinstance(message.get("op", message.get("event")), str):
        raise ValueError(f"no message: {line[:80]!r}")
    return message
