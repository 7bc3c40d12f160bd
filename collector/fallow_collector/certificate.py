"""One certificate: which it is, for how long it is valid, and whether it may stand for somebody."""

from typing import NamedTuple, TypeVar

from cryptography import x509

Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Pems(NamedTuple):
    """What a listener shows, and whose certificates it asks for; None: nobody's."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Validity(NamedTuple):
    """Unix seconds. serial: lower-case hexadecimal, as revocations name it."""

    begins: float
    ends: float
    serial: str = ""

    def remaining_s(self, wall: float) -> float:
        """Until it expires; 0 when it has. wall: unix seconds."""
        return max(0.0, self.ends - wall)

    def remaining_ratio(self, wall: float) -> float:
        """What is left of its life, 0 to 1."""
        life_s = self.ends - self.begins
        return min(1.0, self.remaining_s(wall) / life_s) if life_s > 0 else 0.0


def validity_of(pem: bytes) -> Validity | None:
    """Of the first certificate in a PEM file, the one that is shown to others; None: it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None
    return Validity(
        certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp(),
        f"{certificate.serial_number:x}",
    )


def leaf_fault(pem: bytes) -> str:
    """Why what a peer shows cannot stand for an agent, empty when it can: as SPIFFE asks (X509-SVID §2, §4), it is no
    authority, and bears no other URI beside a SPIFFE id."""
    try:
        extensions = x509.load_pem_x509_certificate(pem).extensions
    except ValueError as error:
        return f"the certificate cannot be read: {error}"
    constraints = _find(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        return "the certificate is an authority's, expected a leaf"
    usage = _find(extensions, x509.KeyUsage)
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        return "the certificate may sign others, expected a leaf"
    names = _find(extensions, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if len(uris) > 1 and any(uri.startswith("spiffe:") for uri in uris):
        return f"the certificate bears {len(uris)} URIs, expected one SPIFFE id and no other"
    return ""


def _find(extensions: x509.Extensions, kind: type[Extension]) -> Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
