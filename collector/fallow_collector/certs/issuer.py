"""X.509 as Fallow's authority makes it: EC P-256 throughout; what SPIFFE asks of leaves (X509-SVID §4) holds for all.

An authority may sign leaves only. A leaf is no authority, may only sign, and serves on both ends of a connection. Which
names it bears is the caller's word, never the request's.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fallow_collector.certs.errors import Refused
from fallow_proto.enrolment import TRUST_DOMAIN, agent_id

CURVE = ec.SECP256R1
REQUEST_LENGTH = 4096  # bytes; ours have 300


class Span(NamedTuple):
    """Unix seconds; certificates know whole ones."""

    begins: int
    ends: int


class Issuer(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVE())


def new_issuer(span: Span) -> Issuer:
    """An authority of its own. Its name tells it from the one before, or verifiers would take one for the other."""
    key = new_key()
    serial = x509.random_serial_number()
    began = datetime.fromtimestamp(span.begins, UTC).date()
    name = _name(f"Fallow CA {began} {serial & 0xFFFF_FFFF:08x}")
    builder = _builder(name, name, key.public_key(), serial, span).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    signed = _with_usage(builder, sign_certificates=True).sign(key, hashes.SHA256())
    return Issuer(signed, key)


def agent_leaf(issuer: Issuer, node: str, key: ec.EllipticCurvePublicKey, span: Span) -> x509.Certificate:
    return _leaf(issuer, agent_id(node), [x509.DNSName(node)], key, span)


def collector_leaf(
    issuer: Issuer, names: list[x509.GeneralName], key: ec.EllipticCurvePublicKey, span: Span
) -> x509.Certificate:
    """names: host names and addresses."""
    return _leaf(issuer, f"spiffe://{TRUST_DOMAIN}/collector", names, key, span)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a PKCS #10 request in PEM or DER whose sender has proven to have the private one. Raises Refused."""
    if len(request) > REQUEST_LENGTH:
        raise Refused(f"a request of {len(request)} bytes, expected at most {REQUEST_LENGTH}")
    load = x509.load_pem_x509_csr if request.lstrip().startswith(b"-----") else x509.load_der_x509_csr
    try:
        parsed = load(request)
        key, proven = parsed.public_key(), parsed.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise Refused(f"the request cannot be read: {error}; expected PKCS #10") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVE):
        raise Refused("the request is for a key of another kind; expected EC P-256")
    if not proven:
        raise Refused("the request is not signed by its own key")
    return key


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def issuer_of(certificate: str, key: str) -> Issuer:
    """Of what pem_of and pem_of_key wrote."""
    private = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey), "BUG: the authority's key is none of ours"
    return Issuer(x509.load_pem_x509_certificate(certificate.encode()), private)


def _leaf(
    issuer: Issuer, uri: str, names: Iterable[x509.GeneralName], key: ec.EllipticCurvePublicKey, span: Span
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fallow")])
    builder = _builder(subject, issuer.certificate.subject, key, x509.random_serial_number(), span)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = _with_usage(builder, sign_certificates=False)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    builder = builder.add_extension(
        x509.SubjectAlternativeName([*names, x509.UniformResourceIdentifier(uri)]), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
    )
    return builder.sign(issuer.key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fallow"), x509.NameAttribute(NameOID.COMMON_NAME, common),
    ])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, span: Span
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key).serial_number(serial)
        .not_valid_before(datetime.fromtimestamp(span.begins, UTC))
        .not_valid_after(datetime.fromtimestamp(span.ends, UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _with_usage(builder: x509.CertificateBuilder, *, sign_certificates: bool) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.KeyUsage(
            digital_signature=not sign_certificates, key_cert_sign=sign_certificates, crl_sign=sign_certificates,
            content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        ),
        critical=True,
    )
