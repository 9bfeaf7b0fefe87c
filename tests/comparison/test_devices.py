"""Which lanes share hardware in a race."""

import pytest

from backends.lane import parse_lane
from comparison.devices import hardware, sharing


@pytest.mark.parametrize(
    ("lane", "used"),
    [
        ("openvino-genai:int4:CPU", {"CPU"}),
        ("openvino-genai:int4:GPU", {"GPU.0"}),
        ("openvino-genai:int4:GPU.1", {"GPU.1"}),
        ("openvino-genai:int4:NPU", {"NPU"}),
        ("openvino-genai:int4:HETERO:GPU,CPU", {"GPU.0", "CPU"}),
        ("openvino-genai:int4:AUTO:-CPU,NPU(1)", {"CPU", "NPU"}),
        ("openvino-genai:int4:AUTO", {"CPU", "GPU.0", "NPU"}),
        ("onnxruntime-genai:int4:DML", {"GPU.0"}),
        ("onnxruntime-genai:int4:DML@adapter=1", {"GPU.1"}),
    ],
)
def test_hardware(lane: str, used: set[str]) -> None:
    assert hardware(parse_lane(lane)) == used


def test_lanes_on_other_hardware_share_nothing() -> None:
    lanes = [
        "transformers",
        "openvino-genai:int4:GPU",
        "openvino-genai:int4:NPU",
        "onnxruntime-genai",
        "openvino-optimum::GPU.0",
    ]
    assert sharing([parse_lane(lane) for lane in lanes]) == [[3], [4], [], [0], [1]]
