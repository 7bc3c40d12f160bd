"""What agent and collector say to one another before the agent has a certificate, as JSON over HTTP.

    GET  /api/v1/enroll            → Authority   whom to trust, for an agent that knows its fingerprint
    POST /api/v1/enroll  Enrolment → Enrolled    a join token and a request become a certificate
"""

from hashlib import sha256
from ssl import PEM_cert_to_DER_cert

import msgspec

PATH = "/api/v1/enroll"
TRUST_DOMAIN = "fallow"
_END = "-----END CERTIFICATE-----"


class Authority(msgspec.Struct, frozen=True):
    ca: str
    """PEM: all whom an agent should trust now."""


class Enrolment(msgspec.Struct, frozen=True):
    token: str
    node: str
    """Which of the token's nodes this is; the certificate's name is the token's, never the request's."""
    csr: str
    """PEM of a PKCS #10 request."""


class Enrolled(msgspec.Struct, frozen=True):
    certificate: str
    ca: str


def agent_id(node: str) -> str:
    """The SPIFFE id of a node's agent, of Fallow's own authority."""
    return f"spiffe://{TRUST_DOMAIN}/agent/{node}"


def split(bundle: str) -> list[str]:
    """The certificates of a PEM file, one by one."""
    return [f"{part.strip()}\n{_END}\n" for part in bundle.split(_END)[:-1]]


def fingerprint(certificate: str) -> str:
    """SHA-256 of one certificate in PEM, as `openssl x509 -fingerprint -sha256` counts it, without colons, lower case.

    Raises ValueError.
    """
    return sha256(PEM_cert_to_DER_cert(certificate)).hexdigest()
