"""What is kept of certificates. Times are unix seconds; serials are lower-case hexadecimal without leading zeros."""

import re
from enum import StrEnum
from typing import NamedTuple

from cryptography import x509


class Kind(StrEnum):
    AGENT = "agent"
    COLLECTOR = "collector"


class Root(NamedTuple):
    """An authority."""

    serial: str
    made: int
    ends: int
    certificate: str  # PEM
    key: str  # PEM


class Leaf(NamedTuple):
    serial: str
    root: str  # serial of the authority that signed it
    kind: Kind
    name: str  # a node, or the collector's names with a space between
    made: int
    begins: int
    ends: int


class Join(NamedTuple):
    """What a join token may do for one node."""

    ends: int
    used: int | None


class InUse(NamedTuple):
    """Of leaves that are neither over nor revoked."""

    roots: frozenset[str]  # whose leaves agents have
    oldest: int | None  # when the first of these was made
    collector: Leaf | None  # the newest of the collector's own


class Listed(NamedTuple):
    leaf: Leaf
    revoked: int | None  # when


def serial_of(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


def parse_serial(text: str) -> str:
    """As it is kept, of what openssl and `certs list` print: "0A:1B…"; empty when it is none."""
    digits = text.replace(":", "").lower()
    return digits.lstrip("0") if _SERIAL.fullmatch(digits) else ""


_SERIAL = re.compile(r"[0-9a-f]{16,40}")  # longer than a node that is called "cafe"
