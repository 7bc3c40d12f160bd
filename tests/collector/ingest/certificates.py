"""An authority and the certificates it gives out, made for one test."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BOTH_ENDS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class Pair(NamedTuple):
    """PEM."""

    certificate: bytes
    key: bytes


class Authority:
    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(
            self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), timedelta(days=1)
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, common_name: str, names: tuple[str, ...] = (), uris: tuple[str, ...] = (), valid: timedelta | None = None,
        others: tuple[x509.GeneralName, ...] = (), begins: timedelta = timedelta(days=-1), is_authority: bool = False,
        purposes: tuple[x509.ObjectIdentifier, ...] = BOTH_ENDS,
    ) -> Pair:
        """begins, valid: from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName(
            [*map(x509.DNSName, names), *map(x509.UniformResourceIdentifier, uris), *others]
        )
        certificate = self._signed(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []),
            key, x509.BasicConstraints(ca=is_authority, path_length=None), valid or timedelta(hours=1),
            *([alternatives] if names or uris or others else []),
            x509.ExtendedKeyUsage(purposes), begins=begins,
        )
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, constraints: x509.BasicConstraints,
        valid: timedelta, *extensions: x509.ExtensionType, begins: timedelta = timedelta(days=-1),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins).not_valid_after(now + valid)
            .add_extension(constraints, critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())
