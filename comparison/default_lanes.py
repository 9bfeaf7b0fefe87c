"""Which lanes to start with when nobody named any: what this machine has, accelerators first, transformers as the reference."""

from collections.abc import Iterable

from backends.availability import availability
from backends.base import Status
from backends.probe import Probed

WISHES = (
    ("openvino-genai", "int4", "NPU"),
    ("openvino-genai", "int4", "GPU"),
    ("onnxruntime-genai", "int4", "DML"),
    ("openvino-genai", "int4", "CPU"),
    ("openvino-genai", "int8", "CPU"),
    ("onnxruntime-genai", "int4", "CPU"),
    ("transformers", "fp32", "CPU"),
)
MOST = 4


def default_lanes(found: Iterable[Probed] | None = None) -> list[str]:
    """At most four lanes of `WISHES` that can run here, the reference among them; `found` is what the probes said."""
    able = {
        (probed.backend, row.precision, row.device.partition(".")[0])
        for probed in (availability() if found is None else found)
        for row in probed.rows
        if row.status in (Status.READY, Status.NEEDS_PREPARATION)
    }
    *others, reference = [wish for wish in WISHES if wish in able] or [WISHES[-1]]
    return [":".join(wish) for wish in (*others[: MOST - 1], reference)]
