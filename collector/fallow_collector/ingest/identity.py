"""Which nodes a peer may speak for, by its certificate."""

import re
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

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


def identity_of(pem: bytes) -> Identity:
    """Read from the certificate itself: gRPC lists alternative names of all kinds as one, so that a mail address or a
    DNS name that looks like a SPIFFE id would be taken for one. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    common = tuple(str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Identity(common, ())
    uris = others.get_values_for_type(x509.UniformResourceIdentifier)
    return Identity(
        names=(*common, *others.get_values_for_type(x509.DNSName)),
        paths=tuple(uri for uri in uris if uri.lower().startswith("spiffe:")),
    )
