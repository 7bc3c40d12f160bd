"""The authority over its file: what it signs, for whom, and what becomes of it in time. `now` is an argument."""

from datetime import timedelta
from pathlib import Path
from stat import S_IMODE

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fallow_agent.enrolment.request import new_request
from fallow_collector.certificate import leaf_fault, validity_of
from fallow_collector.certs.authority import LEAVES_OF_NODE, Authority
from fallow_collector.certs.errors import CertsError, NoAuthority, Refused
from fallow_proto.enrolment import fingerprint, split

NOW = 1_800_000_000.0
WEEK_S = 7 * 86_400.0
HOUR_S = 3600.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path, WEEK_S)
    made.init(NOW)
    return made


def enrolled(authority: Authority, node: str = "n1", now: float = NOW) -> bytes:
    token = authority.make_join_token([node], HOUR_S, now)
    return authority.enrol(token, node, new_request().pem, now).certificate.encode()


def serial_of(pem: bytes) -> str:
    found = validity_of(pem)
    assert found is not None
    return found.serial


def bundle_file(authority: Authority) -> list[str]:
    return split(authority.bundle_path.read_text())


def signers(authority: Authority, pem: bytes, now: float) -> list[bool]:
    """Which of the trusted authorities has signed it."""
    leaf = x509.load_pem_x509_certificate(pem)
    found = []
    for root in split(authority.bundle(now)):
        try:
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(root.encode()))
            found.append(True)
        except Exception:  # noqa: BLE001  # whatever it is, it did not sign
            found.append(False)
    return found


def test_an_agents_certificate_is_a_leaf_of_its_node_for_a_week(authority: Authority) -> None:
    pem = enrolled(authority)
    leaf = x509.load_pem_x509_certificate(pem)
    extensions = leaf.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://fallow/agent/n1"]
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert timedelta(days=7) <= leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=7, minutes=5)
    assert leaf_fault(pem) == ""
    assert signers(authority, pem, NOW) == [True]


def test_keys_are_for_the_owner_only(authority: Authority, tmp_path: Path) -> None:
    paths = [authority.issue_collector(["localhost", "10.0.0.1"], NOW), authority.issue_node("n1", NOW)]
    assert [S_IMODE(path.stat().st_mode) for path in (*paths, tmp_path / "certs.sqlite")] == [0o600] * 3
    assert b"PRIVATE KEY" not in authority.bundle_path.read_bytes()


def test_the_names_in_a_request_are_not_read(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = (
        x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n2")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("n2")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    token = authority.make_join_token(["n1"], HOUR_S, NOW)
    pem = authority.enrol(token, "n1", csr.public_bytes(serialization.Encoding.PEM), NOW).certificate.encode()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert leaf_fault(pem) == ""


@pytest.mark.parametrize(("request_bytes", "reason"), [
    (b"", "cannot be read"),
    (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "cannot be read"),
    (b"x" * 5000, "a request of 5000 bytes"),
])
def test_a_request_that_is_none_does_not_spend_the_token(
    authority: Authority, request_bytes: bytes, reason: str
) -> None:
    token = authority.make_join_token(["n1"], HOUR_S, NOW)
    with pytest.raises(Refused, match=reason):
        authority.enrol(token, "n1", request_bytes, NOW)
    authority.enrol(token, "n1", new_request().pem, NOW)


def test_a_request_signed_by_another_key_is_refused(authority: Authority) -> None:
    good = bytearray(new_request().der)
    good[-1] ^= 1
    token = authority.make_join_token(["n1"], HOUR_S, NOW)
    with pytest.raises(Refused):
        authority.enrol(token, "n1", bytes(good), NOW)


def test_a_token_is_for_its_nodes_once_each_and_for_its_time(authority: Authority) -> None:
    token = authority.make_join_token(["n1", "n2"], HOUR_S, NOW)
    authority.enrol(token, "n1", new_request().pem, NOW)
    for node, now, reason in (
        ("n1", NOW, "was used for node n1"), ("n3", NOW, "is not for node n3"), ("n2", NOW + HOUR_S, "expired at"),
        ("a\nb", NOW, "cannot be a node's name"),
    ):
        with pytest.raises(Refused, match=reason):
            authority.enrol(token, node, new_request().pem, now)
    with pytest.raises(Refused, match="is not known here"):
        authority.enrol(token + "x", "n2", new_request().pem, NOW)
    authority.enrol(token, "n2", new_request().pem, NOW)


def test_only_the_hash_of_a_token_is_kept(authority: Authority, tmp_path: Path) -> None:
    token = authority.make_join_token(["n1"], HOUR_S, NOW)
    authority.close()
    assert token.encode() not in (tmp_path / "certs.sqlite").read_bytes()


def test_a_certificate_is_renewed_for_whoever_has_its_key_and_for_nobody_else(authority: Authority) -> None:
    pem = enrolled(authority)
    renewed = authority.renew(pem, new_request().der, NOW + 5 * 86_400)
    valid = validity_of(renewed.certificate.encode())
    assert valid is not None
    assert valid.ends == NOW + 5 * 86_400 + WEEK_S
    with pytest.raises(Refused, match="has expired"):
        authority.renew(pem, new_request().der, NOW + WEEK_S)
    collector = authority.issue_collector(["localhost"], NOW).read_bytes()
    with pytest.raises(Refused, match="none that this collector gave to an agent"):
        authority.renew(collector, new_request().der, NOW)
    authority.revoke(serial_of(pem), NOW)
    with pytest.raises(Refused, match="was revoked"):
        authority.renew(pem, new_request().der, NOW)


def test_a_node_cannot_fill_the_disk_with_renewals(authority: Authority) -> None:
    pem = enrolled(authority)
    for _ in range(LEAVES_OF_NODE - 1):
        authority.renew(pem, new_request().der, NOW)
    with pytest.raises(Refused, match="expected one or two"):
        authority.renew(pem, new_request().der, NOW)


def test_a_revoked_node_loses_what_it_has_and_its_tokens_until_a_new_one(authority: Authority) -> None:
    pem, other = enrolled(authority), enrolled(authority, "n2")
    pending = authority.make_join_token(["n1"], HOUR_S, NOW)
    later = NOW + 60
    assert authority.revoke("n1", later) == [serial_of(pem)]
    revoked = authority.revocations()
    assert revoked.complaint(serial_of(pem), NOW - 300, "n1")
    assert revoked.complaint("f00", NOW - 300, "n1"), "one of another authority that began before, too"
    assert not revoked.complaint(serial_of(other), NOW - 300, "n2")
    with pytest.raises(Refused, match="is not known here"):
        authority.enrol(pending, "n1", new_request().pem, later)
    anew = validity_of(enrolled(authority, "n1", later + 1))
    assert anew is not None
    assert not authority.revocations().complaint(anew.serial, anew.begins, "n1")


def test_of_another_authoritys_certificate_the_serial_can_be_revoked(authority: Authority) -> None:
    assert authority.revoke("0A:1B:2C:3D:4E:5F:60:71:82", NOW) == ["a1b2c3d4e5f607182"]
    assert authority.revocations().complaint("a1b2c3d4e5f607182", NOW, "n9")


def test_a_change_of_authorities_never_shows_an_agent_what_it_does_not_trust(authority: Authority) -> None:
    collector = authority.issue_collector(["localhost"], NOW)
    old = enrolled(authority, "n1", NOW + 1)
    pin = authority.pin(NOW + 1)
    authority.rotate(NOW + 10)
    new, former = bundle_file(authority)
    assert fingerprint(former) == pin == authority.pin(NOW + 10), "who enrols now meets the old one"

    renewed = authority.renew(old, new_request().der, NOW + 100)
    assert split(renewed.ca) == [new, former]
    assert signers(authority, renewed.certificate.encode(), NOW + 100) == [True, False]

    authority.keep(NOW + 101)
    assert signers(authority, pem_of(collector), NOW + 101) == [False, True], "an agent may still know the old one only"

    over = NOW + 2 + WEEK_S
    authority.keep(over)
    assert signers(authority, pem_of(collector), over)[0], "every agent has renewed, and knows the new one"
    authority.keep(over)
    assert bundle_file(authority) == [new]


def test_the_collectors_own_certificate_is_renewed_in_time_and_not_before(authority: Authority) -> None:
    path = authority.issue_collector(["localhost", "10.0.0.1"], NOW)
    before = path.read_bytes()
    authority.keep(NOW + 240 * 86_400)
    assert path.read_bytes() == before
    authority.keep(NOW + 244 * 86_400)
    valid = validity_of(pem_of(path))
    assert valid is not None
    assert valid.ends == NOW + (244 + 365) * 86_400
    assert [each.leaf.name for each in authority.listed()] == ["localhost 10.0.0.1"] * 2


def test_an_authority_is_made_once_and_asked_for_only_when_there(tmp_path: Path) -> None:
    none = Authority(tmp_path, WEEK_S)
    for attempt in (none.rotate, none.pin, none.bundle):
        with pytest.raises(NoAuthority, match="certs init"):
            attempt(NOW)
    none.init(NOW)
    with pytest.raises(CertsError, match="there is an authority already"):
        none.init(NOW)


def test_a_lost_file_is_told_and_does_not_forget_who_was_revoked(authority: Authority, tmp_path: Path) -> None:
    authority.close()
    (tmp_path / "certs.sqlite").write_bytes(b"not a database, and long enough to be looked at" * 100)
    for _ in range(2):
        with pytest.raises(CertsError, match="Bring it back from a backup"):
            Authority(tmp_path, WEEK_S)


def pem_of(path: Path) -> bytes:
    return path.read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2]
