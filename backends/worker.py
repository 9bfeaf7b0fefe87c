"""One backend with one model in a process of its own: `python -m backends.worker`, speaking `backends.protocol`.

The order of the start matters. The standard handles are taken over first, because libraries print to stdout. The load
request is read, the runtime imported and the model loaded before any thread of ours runs: a thread that blocks on piped
stdin can deadlock imports on Windows.
"""

import faulthandler
import gc
import os
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from backends.base import Backend, GenerationOptions, Loaded, LoadRequest, Stamped
from backends.channel import Channel, take_over_standard_handles
from backends.errors import LaneError, LoadFailed, OutOfMemory, RuntimeFailed, Unavailable
from backends.inbox import Inbox
from backends.offline import offline
from backends.parent_death import die_with_parent
from backends.process_memory import peak_rss_bytes, rss_bytes
from backends.registry import BACKENDS, backend_class
from backends.token_batches import TokenBatches

MAX_MESSAGE_CHARACTERS = 500
SPIN_NS = 2_000_000
LONGEST_SLEEP_NS = 50_000_000
OUT_OF_MEMORY_WORDS = (
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
)


def main() -> int:
    """Serve until the app closes the pipe. The exit status is 1 when nothing could be loaded."""
    die_with_parent()
    channel = take_over_standard_handles()
    faulthandler.enable(all_threads=False)
    try:
        backend = _load(channel)
    except Exception as problem:  # noqa: BLE001 - whatever a runtime raises is the lane's error
        traceback.print_exc()
        channel.send(_failed(None, problem, LoadFailed))
        return 1
    if backend is None:
        return 0
    inbox, tokens = Inbox(channel), TokenBatches(channel)
    while (message := inbox.next()) is not None:
        try:
            _serve(backend, message, inbox, tokens)
        except Exception as problem:  # noqa: BLE001 - as above; the worker stays usable
            traceback.print_exc()
            tokens.send(_failed(message["request"], problem, RuntimeFailed))
    return 0


def _load(channel: Channel) -> Backend | None:
    """Follow the first message. None when there is none: the app has changed its mind."""
    message = channel.receive()
    if message is None or message.get("op") == "close":
        return None
    request = _load_request(message)
    _limit_threads(request.threads)
    offline()
    cls = _imported(message["backend"], channel)
    backend = cls()
    before = time.perf_counter()
    loaded = backend.load(request)
    gc.collect()
    gc.freeze()  # what a runtime leaves behind is not looked through again between two tokens
    channel.send(_loaded(loaded, time.perf_counter() - before))
    return backend


def _load_request(message: Mapping[str, Any]) -> LoadRequest:
    if message["backend"] not in BACKENDS:
        raise Unavailable(f"There is no backend {message['backend']!r}.")
    return LoadRequest(
        model=Path(message["model"]),
        precision=message["precision"],
        device=message["device"],
        threads=message["threads"],
        cache=Path(message["cache"]),
        options=message["options"],
    )


def _limit_threads(threads: int) -> None:
    """For the libraries that read the environment when they are imported: so many threads, and idle ones sleep."""
    count = str(threads)
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _imported(name: str, channel: Channel) -> type[Backend]:
    before = time.perf_counter()
    cls = backend_class(name)
    for module in cls.runtime_modules:
        try:
            import_module(module)
        except Exception as problem:
            reason = f"{cls.label} cannot be imported ({_one_line(problem)}). It is installed by: {cls.install_command}"
            raise Unavailable(reason) from problem
    channel.send(
        {
            "event": "imported",
            "pid": os.getpid(),
            "seconds": time.perf_counter() - before,
            "rss_bytes": rss_bytes(),
            "packages": dict(_versions(cls.packages)),
        }
    )
    return cls


def _versions(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for package in packages:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue


def _loaded(loaded: Loaded, seconds: float) -> dict[str, Any]:
    return {
        "event": "loaded",
        "seconds": seconds,
        "rss_bytes": rss_bytes(),
        "device_name": loaded.device_name,
        "compute_precision": loaded.compute_precision,
        "warnings": loaded.warnings,
        "first_compile_s": loaded.first_compile_s,
        "cached_compile_s": loaded.cached_compile_s,
    }


def _serve(backend: Backend, message: dict[str, Any], inbox: Inbox, tokens: TokenBatches) -> None:
    request = message["request"]
    options = GenerationOptions(**message["options"] | {"stop_ids": tuple(message["options"]["stop_ids"])})
    if message["go_at_ns"] is not None:
        _wait_until(message["go_at_ns"], inbox, request)
    cpu_s = time.process_time()
    tokens.begin(request, time.perf_counter_ns())
    reason = _generate(backend, message["prompt_ids"], options, inbox, tokens, request)
    cpu_s = time.process_time() - cpu_s
    memory = {"rss_bytes": rss_bytes(), "peak_rss_bytes": peak_rss_bytes()}
    tokens.send({"event": "finished", "request": request, "finish_reason": reason, "cpu_s": cpu_s} | memory)


def _wait_until(time_ns: int, inbox: Inbox, request: int) -> None:
    """Sleep, then spin for the last 2 ms, which a sleep would miss."""
    while (left := time_ns - time.perf_counter_ns()) > SPIN_NS and not inbox.should_stop(request):
        time.sleep(min(left - SPIN_NS, LONGEST_SLEEP_NS) / 1e9)
    while time.perf_counter_ns() < time_ns and not inbox.should_stop(request):
        pass


def _generate(
    backend: Backend,
    prompt_ids: list[int],
    options: GenerationOptions,
    inbox: Inbox,
    tokens: TokenBatches,
    request: int,
) -> str:
    """Hand on the tokens of one request and enforce its end, whatever the backend yields. Returns the finish reason."""
    count, token_id = 0, -1
    stop_ids = () if options.ignore_eos else options.stop_ids
    clock, add = time.perf_counter_ns, tokens.add

    def should_stop() -> bool:
        return inbox.should_stop(request)

    with closing(_closable(backend.generate(prompt_ids, options, should_stop))) as generated:
        for token in generated:
            time_ns = clock()
            if isinstance(token, Stamped):
                token, time_ns = token
            token_id = int(token)
            add(token_id, time_ns)
            count += 1
            if token_id in stop_ids or count >= options.max_new_tokens or should_stop():
                break
    return _finish_reason(token_id, count, options, should_stop())


def _closable(tokens: Iterator[int | Stamped]) -> Generator[int | Stamped, None, None]:
    yield from tokens


def _finish_reason(last_id: int, count: int, options: GenerationOptions, stopped: bool) -> str:
    ends = last_id in options.stop_ids
    if ends and not options.ignore_eos:
        return "stop"
    if count >= options.max_new_tokens:
        return "length"
    if stopped:
        return "cancelled"
    if count == 0:
        raise RuntimeFailed("The runtime ended without a single token.")
    return "stop" if ends else "length"  # a limit of the runtime's own, the context's for instance


def _failed(request: int | None, problem: Exception, otherwise: type[LaneError]) -> dict[str, Any]:
    """The message that says what went wrong; `otherwise` names the kind of what a runtime raises."""
    kind = problem.kind if isinstance(problem, LaneError) else otherwise.kind
    words = _one_line(problem)
    if isinstance(problem, MemoryError) or (
        not isinstance(problem, LaneError) and any(sign in words.lower() for sign in OUT_OF_MEMORY_WORDS)
    ):
        kind = OutOfMemory.kind
    return {"event": "failed", "request": request, "kind": kind, "message": words}


def _one_line(problem: Exception) -> str:
    """What the log has in full. An error of ours is a sentence already, that of a runtime needs its name."""
    first = next((line.strip() for line in str(problem).splitlines() if line.strip()), "")
    if not isinstance(problem, LaneError):
        first = f"{type(problem).__name__}: {first}" if first else type(problem).__name__
    return first[:MAX_MESSAGE_CHARACTERS]


if __name__ == "__main__":
    sys.exit(main())
