"""Which nodes a peer may speak for, by its certificate."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_AGENT = re.compile(r"spiffe://[a-z0-9._-]{1,255}/agent/([A-Za-z0-9._-]+)")
"""The id of an agent, of whatever trust domain: which domains there are is what [tls] client_ca says."""


class Identity(NamedTuple):
    """The names that a verified client certificate bears."""

    names: tuple[str, ...]  # common name, DNS names
    paths: tuple[str, ...]  # URIs (SPIFFE)

    def speaks_for(self, node: str) -> bool:
        """A SPIFFE id …/agent/NODE and, only where there is no SPIFFE id, a common or DNS name equal to the node's."""
        if not self.paths:
            return node in self.names
        return len(self.paths) == 1 and (found := _AGENT.fullmatch(self.paths[0])) is not None and found[1] == node

    def __str__(self) -> str:
        return ", ".join((*self.names, *self.paths)) or "no name"


def identity_of(auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
    """The identity that gRPC's auth context tells, None when the peer showed no certificate.

    gRPC lists alternative names of all kinds under one key; only URIs have a scheme.
    """
    if b"ssl" not in auth_context.get("transport_security_type", ()):
        return None
    common = [name.decode("utf-8", "replace") for name in auth_context.get("x509_common_name", ())]
    others = [name.decode("utf-8", "replace") for name in auth_context.get("x509_subject_alternative_name", ())]
    if not common and not others:
        return None
    return Identity(
        names=(*common, *(name for name in others if "://" not in name)),
        paths=tuple(name for name in others if name.startswith("spiffe:")),
    )
