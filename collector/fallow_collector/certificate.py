"""For how long a certificate is valid."""

from typing import NamedTuple

from cryptography import x509


class Validity(NamedTuple):
    """Unix seconds."""

    begins: float
    ends: float

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
    return Validity(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())
