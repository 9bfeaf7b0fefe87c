"""The lane grammar, for every registered backend."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.lane import MAX_LANE_LENGTH, Lane, LaneSyntaxError, option_keys, parse_lane
from backends.registry import BACKENDS, backend_class

steady = settings(deadline=None, derandomize=True)

SAMPLE_VALUES = ("0", "1", "2", "7", "64", "4096", "0.1", "0.30000000000000004", "1e-3", "123456.789", "-0.5", "on", "off",
                 "true", "false", "a b", "f32", "bf16", "C:\\Models\\phi 3", "exports/ü@100%")  # fmt: skip


def _accepted(backend: str, name: str) -> list[str]:
    """Those sample values that the option takes."""
    parse, taken = option_keys(backend_class(backend))[name].parse, []
    for value in SAMPLE_VALUES:
        try:
            parse(value)
        except ValueError:
            continue
        taken.append(value)
    return taken


def _encoded(value: str) -> str:
    return value.replace("%", "%25").replace("@", "%40")


@st.composite
def lane_texts(draw: st.DrawFn) -> str:
    """A valid lane in one of its many spellings."""
    backend = draw(st.sampled_from(sorted(BACKENDS)))
    cls = backend_class(backend)
    precision = draw(st.sampled_from(["", *cls.precisions]))
    device = draw(st.sampled_from(["", "CPU", "GPU.1", "NPU", "HETERO:GPU,CPU", "MULTI:GPU.0,GPU.1,CPU"]))
    options = {name: values for name in option_keys(cls) if (values := _accepted(backend, name))}
    chosen = draw(st.lists(st.sampled_from(sorted(options)), unique=True, max_size=4))
    settings = "".join(f"@{name}={_encoded(draw(st.sampled_from(options[name])))}" for name in chosen)
    return f"{backend}:{precision}:{device}{settings}"


@steady
@given(lane_texts())
def test_the_canonical_form_reads_back_as_the_same_lane(text: str) -> None:
    lane = parse_lane(text)
    assert parse_lane(str(lane)) == lane
    assert str(parse_lane(str(lane))) == str(lane)
    assert hash(parse_lane(str(lane))) == hash(lane)


@steady
@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"]) | st.just(" "), min_size=1
    )
)
def test_any_printable_path_survives_the_canonical_form(path: str) -> None:
    written = str(Lane("scripted", "fp32", "CPU", {"from": path}))
    if len(written) <= MAX_LANE_LENGTH:
        assert parse_lane(written).option("from") == path


@steady
@given(st.floats(min_value=0.01, max_value=1e6))
def test_numbers_keep_every_digit(rate: float) -> None:
    assert parse_lane(str(Lane("scripted", "fp32", "CPU", {"rate": rate}))).option("rate") == rate


@steady
@given(st.text())
def test_whatever_is_typed_is_a_lane_or_gets_one_sentence(text: str) -> None:
    _is_a_lane_or_one_sentence(text)


@steady
@given(st.text(alphabet="scripted:fp32@rate=50%AZ,\n\ud800é .", max_size=60).map("scripted".__add__))
def test_whatever_follows_a_backend_is_a_lane_or_gets_one_sentence(text: str) -> None:
    _is_a_lane_or_one_sentence(text)


def _is_a_lane_or_one_sentence(text: str) -> None:
    try:
        lane = parse_lane(text)
    except LaneSyntaxError as problem:
        said = str(problem)
    else:
        said = "It is one."
        assert parse_lane(str(lane)) == lane
    assert said.endswith(".")
    assert said.isprintable()


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_omitted_parts_take_the_backends_defaults(backend: str) -> None:
    cls = backend_class(backend)
    canonical = f"{backend}:{cls.default_precision}:{cls.default_device}"
    assert [str(parse_lane(f"{backend}{rest}")) for rest in ("", ":", "::")] == [canonical] * 3


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_an_option_that_is_not_set_has_its_default(backend: str) -> None:
    for name, key in option_keys(backend_class(backend)).items():
        assert parse_lane(backend).option(name) == key.default


@pytest.mark.parametrize(
    ("text", "device", "options"),
    [
        ("scripted:fp16:HETERO:GPU,CPU", "HETERO:GPU,CPU", {}),
        ("scripted:fp16:HETERO:GPU,CPU@rate=20@tokens=7", "HETERO:GPU,CPU", {"rate": 20.0, "tokens": 7}),
        ("scripted:fp16:GPU.1@from=C:\\a\\b:c", "GPU.1", {"from": "C:\\a\\b:c"}),
        ("scripted:fp16@from=a%40b%25c%20d", "CPU", {"from": "a@b%c d"}),
        ("scripted:fp16@from=a=b", "CPU", {"from": "a=b"}),
        ("  scripted:fp16 ", "CPU", {}),
    ],
)
def test_what_is_written_is_what_is_read(text: str, device: str, options: dict[str, Any]) -> None:
    lane = parse_lane(text)
    assert (lane.backend, lane.precision, lane.device, dict(lane.options)) == ("scripted", "fp16", device, options)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("scripted", "scripted:fp32:CPU"),
        ("scripted@tokens=750@rate=50", "scripted:fp32:CPU@rate=50@tokens=750"),
        ("scripted@rate=50.0", "scripted:fp32:CPU@rate=50"),
        ("scripted@from=a%40b c%25", "scripted:unknown:CPU@from=a%40b%20c%25"),
        ("scripted@from=exports/phi3-int4", "scripted:unknown:CPU@from=exports/phi3-int4"),
        ("scripted:int4@from=exports/phi3-int4", "scripted:int4:CPU@from=exports/phi3-int4"),
    ],
)
def test_the_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_lane(text)) == canonical


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no backend ''. Backends: transformers"),
        ("torch", "There is no backend 'torch'"),
        ("scripted:int3", "scripted has no precision 'int3'. It has: fp32, fp16"),
        ("scripted:unknown", "scripted has no precision 'unknown'"),
        ("scripted@speed=2", "scripted has no option 'speed'. Its options: fail"),
        ("scripted@", "scripted has no option ''"),
        ("scripted@rate", "The option 'rate' needs a value: @rate=VALUE."),
        ("scripted@rate=", "The option 'rate' needs a value: @rate=VALUE."),
        ("scripted@rate=fast", "'fast' is no value for @rate: it takes a number from 0.01 to"),
        ("scripted@rate=nan", "'nan' is no value for @rate"),
        ("scripted@tokens=1.5", "'1.5' is no value for @tokens: it takes a whole number from 1 to"),
        ("scripted@rate=1@rate=2", "sets an option twice"),
        ("scripted:fp32:CPU\nGPU", "has spaces or unprintable characters"),
        ("scripted:fp32:HETERO:GPU, CPU", "has spaces or unprintable characters"),
        ("scripted@from=a%00b", "it has unprintable characters"),
        ("scripted@from=a%ffb", "its percent-encoding is not UTF-8"),
        ("scripted@from=\udcff", "it has unprintable characters"),
        ("scripted@from=" + "x" * MAX_LANE_LENGTH, "A lane has at most 1000 characters"),
        ("scripted@from=" + "é" * 900, "Written out, the lane has"),
    ],
)
def test_what_is_no_lane_is_explained(text: str, said: str) -> None:
    with pytest.raises(LaneSyntaxError) as refused:
        parse_lane(text)
    assert said in str(refused.value)


def test_a_lane_can_be_used_as_a_key() -> None:
    assert len({parse_lane("scripted@rate=1"), parse_lane("scripted@rate=1.0"), parse_lane("scripted@rate=2")}) == 2
