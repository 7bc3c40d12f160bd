"""Between the wire's messages and plain Python values, the parts that both ends need."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb


def layout_hash(blocks: Iterable[pb.Block]) -> bytes:
    """16 bytes that name a layout by its content.

    Protobuf's serialization is not canonical across versions, so the text that is hashed is our own.
    """
    digest = blake2b(digest_size=16)
    for block in blocks:
        digest.update(
            repr((
                block.reader, block.group, block.interval_s,
                list(block.devices), list(block.gauges), list(block.counters),
            )).encode()
        )
    return digest.digest()


def layout_of(blocks: Iterable[pb.Block]) -> pb.Layout:
    """A layout under its hash."""
    blocks = list(blocks)
    return pb.Layout(hash=layout_hash(blocks), blocks=blocks)


def encode_ranges(ranges: Mapping[str, Iterable[tuple[int, int]]]) -> list[pb.EpochRanges]:
    """Ranges by epoch, for the wire; epochs without any are left out."""
    encoded = []
    for epoch, pairs in ranges.items():
        message = pb.EpochRanges(epoch=epoch, ranges=[pb.Range(lo=lo, hi=hi) for lo, hi in pairs])
        if message.ranges:
            encoded.append(message)
    return encoded


def decode_ranges(messages: Iterable[pb.EpochRanges]) -> dict[str, RangeSet]:
    """Ranges by epoch, from the wire. Raises ValueError if a range is empty (lo > hi)."""
    decoded: dict[str, RangeSet] = {}
    for message in messages:
        ranges = decoded.setdefault(message.epoch, RangeSet())
        ranges.update((r.lo, r.hi) for r in message.ranges)
    return decoded
