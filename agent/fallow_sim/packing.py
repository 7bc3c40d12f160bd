"""Numbers that are already packed, as serialized fallow.v1.Readings.

Filling a repeated field from Python floats costs 12 µs for 8 devices of 21 metrics, handing over the array's bytes 5.
"""

from fallow_proto.v1 import telemetry_pb2 as pb

_LENGTH_DELIMITED = 2
_GAUGES = pb.Readings.DESCRIPTOR.fields_by_name["gauges"].number << 3 | _LENGTH_DELIMITED
_COUNTERS = pb.Readings.DESCRIPTOR.fields_by_name["counters"].number << 3 | _LENGTH_DELIMITED


class Packing:
    """Heads of the two number fields, for blocks of one size."""

    def __init__(self, gauges: int, counters: int) -> None:
        """How many float32 gauges and float64 counters a block has."""
        self._gauges = bytes([_GAUGES]) + _varint(4 * gauges)
        self._counters = bytes([_COUNTERS]) + _varint(8 * counters)

    def fill(self, readings: pb.Readings, gauges: bytes, counters: bytes) -> None:
        """gauges, counters: little-endian numbers, row-major by device."""
        readings.MergeFromString(b"".join((self._gauges, gauges, self._counters, counters)))


def _varint(number: int) -> bytes:
    """https://protobuf.dev/programming-guides/encoding/#varints"""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
