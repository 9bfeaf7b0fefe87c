"""What a first start races."""

from backends.base import Availability, Status
from backends.probe import Probed
from comparison.default_lanes import default_lanes


def rows(backend: str, device: str, *precisions: str, status: Status = Status.READY) -> Probed:
    return Probed(backend, tuple(Availability(device, device, precision, status) for precision in precisions))


CPU_ONLY = [
    rows("transformers", "CPU", "fp32", "bf16"),
    rows("openvino-genai", "CPU", "fp32", "int8", "int4"),
    rows("onnxruntime-genai", "CPU", "int4"),
]


def test_a_machine_with_only_a_cpu() -> None:
    assert default_lanes(CPU_ONLY) == [
        "openvino-genai:int4:CPU", "openvino-genai:int8:CPU", "onnxruntime-genai:int4:CPU", "transformers:fp32:CPU",
    ]  # fmt: skip


def test_accelerators_come_first_and_the_reference_stays() -> None:
    found = [*CPU_ONLY, rows("openvino-genai", "GPU.0", "int4"), rows("openvino-genai", "NPU", "int4")]
    assert default_lanes(found)[:2] == ["openvino-genai:int4:NPU", "openvino-genai:int4:GPU"]
    assert default_lanes(found)[-1] == "transformers:fp32:CPU"
    assert len(default_lanes(found)) == 4


def test_what_is_not_installed_is_left_out() -> None:
    found = [CPU_ONLY[0], rows("openvino-genai", "CPU", "int4", status=Status.NOT_INSTALLED)]
    assert default_lanes(found) == ["transformers:fp32:CPU"]
