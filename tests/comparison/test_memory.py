"""Memory: what a lane is expected to need, when it is refused, and what counts as growth."""

import pytest

from backends.errors import OutOfMemory
from backends.lane import parse_lane
from comparison.growth import MemoryGrowth
from comparison.memory import needed_bytes, refuse_beyond

GB = 1_000_000_000
MB = 1024**2


def test_phi3_mini_is_expected_to_take_about_what_it_was_measured_to_take() -> None:
    # Measured at 3.8B parameters: OpenVINO int4 4.0 to 4.5 GB from 2.0, ONNX Runtime int4 3.4 from 2.7, bf16 7.6.
    assert 4.0 <= needed_bytes(parse_lane("openvino-genai:int4"), 2 * GB) / GB <= 5.5
    assert 3.4 <= needed_bytes(parse_lane("onnxruntime-genai:int4"), int(2.7 * GB)) / GB <= 4.5
    assert 7.6 <= needed_bytes(parse_lane("transformers:bf16"), int(7.6 * GB)) / GB <= 10
    assert needed_bytes(parse_lane("transformers:fp32"), int(7.6 * GB)) > 15 * GB


def test_what_does_not_fit_is_refused_with_both_figures() -> None:
    refuse_beyond(4 * GB, 5 * GB)
    with pytest.raises(OutOfMemory, match=r"4\.0 GB .* 3\.5 GB are free"):
        refuse_beyond(4 * GB, 4 * GB + 36 * MB)


def test_memory_that_fills_once_is_no_growth() -> None:
    growth = MemoryGrowth()
    growth.loaded(1000 * MB)
    assert not any(growth.keeps_growing(bytes_ * MB) for bytes_ in (1000, 2000, 2000, 2000, 2001, 2001, 2001))


def test_steady_growth_is_seen_once_it_is_large() -> None:
    growth = MemoryGrowth()
    growth.loaded(1000 * MB)
    assert [growth.keeps_growing(bytes_ * MB) for bytes_ in (1000, 1100, 1200, 1300, 1400)] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert "1.47 GB over 5 runs" in growth.described(1400 * MB)
    growth.loaded(1000 * MB)
    assert not growth.keeps_growing(1500 * MB)
