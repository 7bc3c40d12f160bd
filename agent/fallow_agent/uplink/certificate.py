"""What the agent's own certificate says, and what is wrong with it.

A certificate that the collector refuses looks to gRPC like a collector that is down ("Socket closed"), so before the
network is blamed the agent shows its certificate to itself: a handshake in memory, in which a server that trusts
[tls] ca looks at [tls] cert. It is also how the agent reads a certificate without a library for it.
"""

import ssl
from typing import NamedTuple

from fallow_agent.config import Tls

_ROUNDS = 10  # a handshake takes three


class Shown(NamedTuple):
    """Of a certificate that is good. Unix seconds."""

    begins: float
    ends: float
    ids: tuple[str, ...]  # URIs


class _Untold(Exception):
    """The handshake failed for a reason that is not the certificate's."""


def complaint(tls: Tls) -> str:
    """What is wrong, with the name of the file and what to do; empty when nothing is, or nothing can be told."""
    found = examine(tls)
    return found if isinstance(found, str) else ""


def examine(tls: Tls) -> Shown | str | None:
    """What it says, or what is wrong with it; None: nothing can be told."""
    try:
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        asking.check_hostname = False
        asking.verify_mode = ssl.CERT_NONE
        asking.load_cert_chain(tls.cert, tls.key)
        looking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        looking.load_cert_chain(tls.cert, tls.key)
    except (OSError, ValueError) as error:
        return f"[tls] cert {tls.cert} and key {tls.key} cannot be used together: {error}"
    try:
        looking.load_verify_locations(tls.ca)
    except (OSError, ValueError) as error:
        return f"[tls] ca {tls.ca} cannot be used: {error}"
    looking.verify_mode = ssl.CERT_REQUIRED
    try:
        return _shown(_shake_hands(looking, asking))
    except ssl.SSLCertVerificationError as error:
        return (
            f"[tls] cert {tls.cert} is not good for [tls] ca {tls.ca}: {error.verify_message}; look at it with "
            f"`openssl x509 -noout -dates -issuer -in {tls.cert}`, and at this machine's clock"
        )
    except (ssl.SSLError, _Untold):
        return None


def _shake_hands(looking: ssl.SSLContext, asking: ssl.SSLContext) -> ssl.SSLObject:
    """The side that looked. Raises SSLCertVerificationError when the certificate that is shown is not good."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = looking.wrap_bio(to_server, to_client, server_side=True)
    client = asking.wrap_bio(to_client, to_server)
    for _ in range(_ROUNDS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if side is server:
                return server
    raise _Untold


def _shown(server: ssl.SSLObject) -> Shown:
    said = server.getpeercert()
    if not said:
        raise _Untold
    begins, ends = str(said["notBefore"]), str(said["notAfter"])
    names: tuple[tuple[str, str], ...] = said.get("subjectAltName", ())  # type: ignore[assignment]
    return Shown(
        ssl.cert_time_to_seconds(begins), ssl.cert_time_to_seconds(ends),
        tuple(value for kind, value in names if kind == "URI"),
    )
