"""Which nodes a certificate speaks for."""

import pytest

from fallow_collector.ingest.identity import Identity, identity_of

SSL = {"transport_security_type": [b"ssl"]}


def test_a_peer_without_a_certificate_has_no_identity() -> None:
    assert identity_of({}) is None
    assert identity_of({"transport_security_type": [b"insecure"]}) is None
    assert identity_of(SSL) is None


@pytest.mark.parametrize(("names", "node", "may"), [
    ({"x509_common_name": [b"node-1"]}, "node-1", True),
    ({"x509_common_name": [b"node-1"]}, "node-10", False),
    ({"x509_subject_alternative_name": [b"node-1", b"node-1.cluster"]}, "node-1.cluster", True),
    ({"x509_subject_alternative_name": [b"spiffe://site/agent/node-1"]}, "node-1", True),
    ({"x509_subject_alternative_name": [b"spiffe://site/agent/node-1"]}, "agent", False),
    ({"x509_subject_alternative_name": [b"https://site/node-1"]}, "node-1", False),
    ({"x509_common_name": [b"\xff\xfe"]}, "node-1", False),
    ({"x509_subject_alternative_name": [b"spiffe://site/dispatcher/node-1"]}, "node-1", False),
    ({"x509_subject_alternative_name": [b"spiffe://site/x/agent/node-1"]}, "node-1", False),
    ({"x509_subject_alternative_name": [b"spiffe://agent/node-1"]}, "node-1", False),
    ({"x509_subject_alternative_name": [b"spiffe://site/agent/node-1/"]}, "node-1", False),
    ({"x509_subject_alternative_name": [b"spiffe://a/agent/node-1", b"spiffe://b/agent/node-2"]}, "node-1", False),
    ({"x509_subject_alternative_name": [b"node-1", b"spiffe://fallow/collector"]}, "node-1", False),
    ({"x509_common_name": [b"node-2"], "x509_subject_alternative_name": [b"spiffe://s/agent/node-1"]}, "node-2", False),
])
def test_the_certificate_must_name_the_node(names: dict[str, list[bytes]], node: str, may: bool) -> None:
    identity = identity_of({**SSL, **names})
    assert identity is not None
    assert identity.speaks_for(node) is may


def test_an_identity_prints_its_names() -> None:
    assert str(Identity(("a",), ("spiffe://s/b",))) == "a, spiffe://s/b"
