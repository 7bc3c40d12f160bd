"""The wire: generated code is fresh, layouts are named by content, and bytes of released versions are understood."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format

from fallow_proto import WIRE
from fallow_proto.codec import decode_ranges, encode_ranges, layout_hash, layout_of
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import identity_pb2
from fallow_proto.v1 import telemetry_pb2 as pb

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "data" / "wire"


def test_generated_code_is_what_the_compiler_makes_of_the_proto_file(tmp_path: Path) -> None:
    made = "fallow_proto/v1"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), f"--python_out={tmp_path}",
            f"--grpc_python_out={tmp_path}", f"--mypy_out=quiet:{tmp_path}", f"--mypy_grpc_out=quiet:{tmp_path}",
            f"{made}/telemetry.proto", f"{made}/identity.proto",
        ],
        check=True, cwd=ROOT, env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )
    files = sorted(path.name for path in (tmp_path / made).iterdir())
    kinds = ("pb2.py", "pb2.pyi", "pb2_grpc.py", "pb2_grpc.pyi")
    assert files == [f"{name}_{kind}" for name in ("identity", "telemetry") for kind in kinds]
    for name in files:
        committed = (ROOT / "proto" / made / name).read_text()
        assert committed == (tmp_path / made / name).read_text(), f"{name} is old: run `make proto`"


@pytest.mark.parametrize("path", sorted(STORED.glob("*/*.hex")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_bytes_of_every_released_version_mean_what_they_meant(path: Path) -> None:
    kind = pb.ToAgent if path.stem in ("welcome", "ack", "refuse", "resend", "fence", "quiesce") else pb.FromAgent
    message = kind.FromString(bytes.fromhex(path.read_text()))
    expected = text_format.Parse(path.with_suffix(".txt").read_text(), kind())
    assert message == expected


def test_a_renewal_of_every_released_version_means_what_it_meant() -> None:
    assert identity_pb2.RenewRequest.FromString(bytes.fromhex("0a03435352")) == identity_pb2.RenewRequest(csr=b"CSR")
    answer = identity_pb2.RenewResponse.FromString(bytes.fromhex("0a044c454146 12024341"))
    assert answer == identity_pb2.RenewResponse(certificate=b"LEAF", ca=b"CA")


def test_every_message_of_the_stream_has_stored_bytes() -> None:
    stored = {path.stem for path in (STORED / f"v{WIRE}").glob("*.hex")}
    kinds = {f.name for m in (pb.FromAgent, pb.ToAgent) for f in m.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert stored == kinds


def test_a_newer_peers_fields_and_messages_are_passed_over() -> None:
    newer = pb.FromAgent(hello=pb.Hello(node="n1")).SerializeToString()
    inner = newer[2:] + b"\xa2\x06\x03new"  # field 100 of Hello
    hello = pb.FromAgent.FromString(bytes([newer[0], len(inner)]) + inner)
    assert hello.hello.node == "n1"
    assert pb.FromAgent.FromString(b"\xfa\x01\x03new").WhichOneof("kind") is None  # message kind 31


def test_a_layout_is_named_by_its_content() -> None:
    block = pb.Block(reader="r", group="fast", interval_s=1.0, devices=["a", "b"], gauges=["power_watts"])
    same = pb.Block.FromString(block.SerializeToString())
    assert layout_of([block]).hash == layout_hash([same])
    assert len(layout_hash([block])) == 16
    for name, value in (("reader", "q"), ("group", "slow"), ("interval_s", 2.0)):
        other = pb.Block.FromString(block.SerializeToString())
        setattr(other, name, value)
        assert layout_hash([other]) != layout_hash([block])
    swapped = pb.Block(reader="r", group="fast", interval_s=1.0, devices=["b", "a"], gauges=["power_watts"])
    assert layout_hash([swapped]) != layout_hash([block])


def test_ranges_survive_the_wire() -> None:
    ranges = {"e1": RangeSet([(1, 5), (9, 9)]), "e2": RangeSet([(0, 2**60)]), "e3": RangeSet()}
    assert decode_ranges(encode_ranges(ranges)) == {"e1": ranges["e1"], "e2": ranges["e2"]}


def test_an_empty_range_on_the_wire_is_an_error() -> None:
    with pytest.raises(ValueError, match="is empty"):
        decode_ranges([pb.EpochRanges(epoch="e", ranges=[pb.Range(lo=3, hi=2)])])
