"""One record of /dev/kmsg, as Documentation/ABI/testing/dev-kmsg has it."""

import re
from typing import NamedTuple

_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")


class Record(NamedTuple):
    seq: int
    stamp: float
    """Seconds on the kernel's scheduler clock: since the machine started, suspended time left out, and never
    corrected, so that it is minutes off after months."""
    text: str


def parsed(record: bytes) -> Record | None:
    """None for what is not a record. Bytes that are no UTF-8 are replaced."""
    head, separator, body = record.partition(b";")
    fields = head.split(b",")
    if not separator or len(fields) < 4 or not (fields[1].isdigit() and fields[2].isdigit()):
        return None
    # After the first line come properties of the device, each on a line that begins with a space.
    line, _, _ = body.partition(b"\n")
    text = _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), line).decode(errors="replace")
    return Record(int(fields[1]), int(fields[2]) / 1e6, text)
