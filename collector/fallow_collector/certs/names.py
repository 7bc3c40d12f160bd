"""Names that certificates can bear."""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509

from fallow_collector.certs.errors import CertsError, Refused
from fallow_proto.slurm.ranges import expand

MOST = 10_000  # nodes of one join token

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""Good as a DNS name, as a part of a SPIFFE path, and as a file's name."""


def node_name(text: str) -> str:
    """The same. Raises Refused."""
    if not _NAME.fullmatch(text):
        raise Refused(
            f"{text[:80]!r} cannot be a node's name in a certificate; expected at most 253 letters, digits, dots, - "
            f"and _, the first and the last a letter or a digit"
        )
    return text


def node_names(text: str) -> list[str]:
    """Of a list such as gpu[01-64]. Raises CertsError."""
    try:
        names = list(dict.fromkeys(expand(text)))
    except ValueError as error:
        raise CertsError(str(error)) from error
    if not 0 < len(names) <= MOST:
        raise CertsError(f"{text!r} names {len(names)} nodes, expected 1 to {MOST:,}")
    return [node_name(name) for name in names]


def collector_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Host names and addresses under which agents and people reach the collector. Raises CertsError."""
    return [_host(name) for name in names]


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(node_name(text))
