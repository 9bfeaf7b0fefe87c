"""OpenVINO's devices and the properties that a model is compiled with: common to both OpenVINO backends."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from backends.base import Availability, Key, Loaded, LoadRequest, Status
from backends.keys import one_of
from backends.threads import THREADS, thread_count

PRECISIONS = ("fp32", "fp16", "int8", "int4")
KEYS: dict[str, Key] = {
    "threads": THREADS,
    "arithmetic": Key(
        one_of("default", "f32"),
        "default",
        "f32: compute in 32 bits, KV cache included; default: as the device does best, e.g. bf16 on recent processors",
    ),
}
ALWAYS_LISTED = ("CPU", "GPU", "NPU")
SHORT_NAMES = {"f32": "fp32", "f16": "fp16"}


def rows() -> list[Availability]:
    """What OpenVINO finds here: each device by its full name, then AUTO and HETERO; GPU and NPU also when they are missing."""
    from openvino import Core

    core = Core()
    found = list(core.available_devices)
    kinds = {device.partition(".")[0] for device in found}
    names = found + [device for device in ALWAYS_LISTED if device not in kinds] + list(_virtual(core, found))
    return [row for device in names for row in _rows(core, device)]


def _virtual(core: Any, found: list[str]) -> Iterator[str]:
    """AUTO, and HETERO over all devices with the CPU last, where their plugins load."""
    if _full_name(core, "AUTO")[0]:
        yield "AUTO"
    if len(found) > 1 and _full_name(core, "HETERO")[0]:
        yield "HETERO:" + ",".join(sorted(found, key=lambda device: (device == "CPU", device)))


def _rows(core: Any, device: str) -> Iterator[Availability]:
    if ":" in device:
        name, reason = device, ""
    else:
        name, reason = _full_name(core, device)
    status = Status.READY if name else Status.UNAVAILABLE
    for precision in PRECISIONS:
        yield Availability(device, name, precision, status, reason)


def _full_name(core: Any, device: str) -> tuple[str, str]:
    """The device's full name and "", or "" and why there is none."""
    try:
        name = str(core.get_property(device, "FULL_DEVICE_NAME"))
    except RuntimeError as problem:
        return "", f"OpenVINO finds no {device} here: {_cause(problem)}"
    return (f"{name} (OpenVINO chooses the device)" if device == "AUTO" else name), ""


def _cause(problem: Exception) -> str:
    """A missing library is named; what else OpenVINO says of a device that is not there means nothing to a user."""
    for line in str(problem).splitlines():
        if line.startswith("Cannot load library"):
            return line.rpartition('": ')[2].strip()
    return "no such device, or no driver for it"


def properties(request: LoadRequest) -> dict[str, Any]:
    """The properties to compile with on the device of `request`."""
    if not _is_virtual(request.device):
        return _common(request) | _of_device(request, request.device)
    from openvino import Core

    return _common(request) | {
        "DEVICE_PROPERTIES": {device: _of_device(request, device) for device in Core().available_devices}
    }


def _is_virtual(device: str) -> bool:
    return device.partition(":")[0] in ("AUTO", "HETERO", "MULTI")


def _common(request: LoadRequest) -> dict[str, Any]:
    """A compiled model for the CPU is not kept: it compiles in seconds, and would take the disk space of the weights again."""
    return {} if request.device == "CPU" else {"CACHE_DIR": str(request.cache)}


def _of_device(request: LoadRequest, device: str) -> dict[str, Any]:
    """Pinning is off: two lanes with fewer threads than cores would be pinned to the same cores."""
    chosen: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        chosen |= {"INFERENCE_NUM_THREADS": thread_count(request.threads), "ENABLE_CPU_PINNING": False}
    if request.options.get("arithmetic") == "f32":
        chosen |= {"INFERENCE_PRECISION_HINT": "f32"}
        if device == "CPU":
            chosen |= {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "KV_CACHE_PRECISION": "f32"}
    return chosen


def device_name(device: str) -> str:
    """The full name of `device`, or `device` itself for one that has none."""
    from openvino import Core

    return device if ":" in device else _full_name(Core(), device)[0] or device


def compute_precision(request: LoadRequest, compiled: Any = None) -> str:
    """What the matrices are multiplied in, from the `compiled` model's properties, or the device's where it is hidden.

    "bf16+int8" is bf16 with activations that are quantised to int8 on the fly where the weights are compressed.
    """
    if compiled is not None and not _is_virtual(request.device):
        return _arithmetic(compiled.get_property, request)
    from openvino import Core

    core = Core()
    devices = compiled.get_property("EXECUTION_DEVICES") if compiled is not None else _members(core, request.device)
    return " or ".join(dict.fromkeys(_arithmetic(_defaults(core, device, request), request) for device in devices))


def _members(core: Any, device: str) -> list[str]:
    """The devices behind `device`: itself, those that a virtual one lists, or all that there are."""
    if not _is_virtual(device):
        return [device]
    listed = device.partition(":")[2]
    return listed.split(",") if listed else list(core.available_devices)


def _defaults(core: Any, device: str, request: LoadRequest) -> Callable[[str], Any]:
    """Reads a property as it will be: what `request` sets, else the device's default."""
    chosen = _of_device(request, device)
    return lambda name: chosen[name] if name in chosen else core.get_property(device, name)


def _arithmetic(read: Callable[[str], Any], request: LoadRequest) -> str:
    try:
        hint, group = read("INFERENCE_PRECISION_HINT"), int(read("DYNAMIC_QUANTIZATION_GROUP_SIZE"))
    except RuntimeError:
        return "unknown"
    name = hint if isinstance(hint, str) else hint.to_string()
    name = SHORT_NAMES.get(name, name)
    return f"{name}+int8" if group and request.precision in ("int8", "int4") else name


def kept_models(cache: Path) -> set[str]:
    """The names of the compiled models in `cache`: a load that adds one has compiled."""
    return {file.name for file in cache.glob("*.blob")} if cache.is_dir() else set()


def loaded(request: LoadRequest, kept_before: set[str], seconds: float, compiled: Any = None) -> Loaded:
    """What to report of a model that was compiled in `seconds`, or read from the cache that held `kept_before`."""
    read_from_cache = bool(kept_before) and kept_models(request.cache) == kept_before and request.device != "CPU"
    return Loaded(
        device_name(request.device),
        compute_precision(request, compiled),
        first_compile_s=None if read_from_cache else seconds,
        cached_compile_s=seconds if read_from_cache else None,
    )


def without_npu(row: Availability, label: str) -> Availability:
    """`row`, unavailable on an NPU, which only takes models of fixed shapes."""
    if row.device.partition(".")[0] != "NPU" or row.status is not Status.READY:
        return row
    reason = f"{label} does not run language models on an NPU; openvino-genai does"
    return replace(row, status=Status.UNAVAILABLE, reason=reason)
