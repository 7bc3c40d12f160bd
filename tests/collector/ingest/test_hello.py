"""What a Hello may say."""

import math

import pytest

from fallow_collector.ingest.hello import DEVICES, cleaned, complaint
from fallow_collector.ingest.hello import clean as clean_hello
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import device, hello


def test_a_usual_hello_is_accepted() -> None:
    assert complaint(hello().hello) == ""


def test_a_newer_wire_is_accepted_because_it_only_adds() -> None:
    assert complaint(hello(wire=99).hello) == ""


@pytest.mark.parametrize(("changed", "found"), [
    ({"wire": 0}, "wire version 0, expected 1 or newer"),
    ({"node": ""}, "node is empty"),
    ({"node": "n" * 254}, "254 characters, expected no more than 253"),
    ({"node": "a b"}, "'a b' holds a space"),
    ({"node": "a\nb"}, r"'a\nb' holds a space or a control character"),
    ({"node": "a\u202eb"}, "control character"),
    ({"site": ""}, "site is empty"),
    ({"epoch": "e" * 65}, "65 characters, expected no more than 64"),
    ({"interval_s": 0.0}, "interval_s is 0.0, expected 0.05 to 60.0"),
    ({"interval_s": math.nan}, "interval_s is nan"),
    ({"interval_s": 1e9}, "interval_s is 1000000000.0"),
    ({"devices": [device(f"gpu-{n}") for n in range(DEVICES + 1)]}, "257 devices, expected no more than 256"),
    ({"devices": [device("")]}, "uuid of device 0 of reader '' is empty"),
    ({"devices": [device("gpu"), device("gpu")]}, "uuid gpu is named twice"),
    ({"devices": [device("gpu\0")]}, "control character"),
    ({"devices": [device("gpu", parent="a b")]}, "parent of device gpu"),
    ({"devices": [device("gpu", unsupported=["x"] * 257)]}, "257 unsupported metrics"),
    ({"readers": [pb.Reader(name="r")] * 33}, "33 readers, expected no more than 32"),
    ({"spooled": [pb.EpochRanges(epoch=f"e{n}") for n in range(1025)]}, "1025 epochs in the spool"),
    ({"spooled": [pb.EpochRanges(epoch="e", ranges=[pb.Range(lo=5, hi=4)])]}, "spool of epoch e: range 5..4 is empty"),
    ({"spooled": [pb.EpochRanges(epoch="e", ranges=[pb.Range(lo=n, hi=n) for n in range(16_385)])]}, "16385 ranges"),
    ({"spooled": [pb.EpochRanges(epoch="")]}, "epoch in the spool is empty"),
])
def test_what_names_something_must_be_right(changed: dict[str, object], found: str) -> None:
    assert found in complaint(hello(**changed).hello)  # type: ignore[arg-type]


def test_what_only_describes_is_cleaned_so_that_an_odd_model_does_not_cost_a_node() -> None:
    said = hello(
        devices=[device("gpu", model="Odd\nmodel\x00", serial="s" * 300, unsupported=["a\tb"])],
        readers=[pb.Reader(name="nvidia", state="failed", message="line\r\nforged line")],
    ).hello
    assert complaint(said) == ""
    assert clean_hello(said) == 3
    assert said.devices[0].model == "Odd model"
    assert said.devices[0].serial == "s" * 256
    assert list(said.devices[0].unsupported) == ["a b"]
    assert said.readers[0].message == "line  forged line"


@pytest.mark.parametrize(("text", "clean"), [
    ("H100 80GB", "H100 80GB"), ("", ""), ("昇腾910B", "昇腾910B"), ("a\x1b[31mb", "a [31mb"), ("abcdef", "abcd"),
])
def test_control_characters_become_spaces_and_long_words_are_cut(text: str, clean: str) -> None:
    length = 4 if clean == "abcd" else 64
    assert cleaned(text, length) == clean
