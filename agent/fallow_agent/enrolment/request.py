"""A new key, and the request for a certificate of it. For short-lived processes: it imports `cryptography`."""

from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Request(NamedTuple):
    key: bytes  # PEM
    csr: x509.CertificateSigningRequest

    @property
    def pem(self) -> bytes:
        return self.csr.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.csr.public_bytes(serialization.Encoding.DER)


def new_request() -> Request:
    """EC P-256. It bears no name: whose it is the authority knows, by the token or by the certificate that is shown."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Request(private, x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256()))
