"""Which nodes a certificate speaks for."""

from ipaddress import ip_address
from typing import Any

import pytest
from cryptography.x509 import IPAddress, RFC822Name

from fallow_collector.ingest.identity import Identity, identity_of
from tests.collector.ingest.certificates import Authority

AUTHORITY = Authority()


@pytest.mark.parametrize(("common", "more", "node", "may"), [
    ("node-1", {}, "node-1", True),
    ("node-1", {}, "node-10", False),
    ("", {}, "node-1", False),
    ("", {"names": ("node-1", "node-1.cluster")}, "node-1.cluster", True),
    ("", {"uris": ("spiffe://site/agent/node-1",)}, "node-1", True),
    ("", {"uris": ("spiffe://site/agent/node-1",)}, "agent", False),
    ("", {"uris": ("https://site/node-1",)}, "node-1", False),
    ("", {"uris": ("spiffe://site/dispatcher/node-1",)}, "node-1", False),
    ("", {"uris": ("spiffe://site/x/agent/node-1",)}, "node-1", False),
    ("", {"uris": ("spiffe://agent/node-1",)}, "node-1", False),
    ("", {"uris": ("spiffe://site/agent/node-1/",)}, "node-1", False),
    ("", {"uris": ("spiffe://a/agent/node-1", "spiffe://b/agent/node-2")}, "node-1", False),
    ("", {"names": ("node-1",), "uris": ("spiffe://fallow/collector",)}, "node-1", False),
    ("node-2", {"uris": ("spiffe://s/agent/node-1",)}, "node-2", False),
    ("node-1", {"uris": ("SPIFFE://s/agent/node-2",)}, "node-1", False),
    ("x", {"names": ("spiffe://s/agent/node-1",)}, "node-1", False),
    ("x", {"others": (RFC822Name("spiffe://s/agent/node-1"),)}, "node-1", False),
    ("x", {"others": (RFC822Name("node-1"),)}, "node-1", False),
    ("x", {"others": (IPAddress(ip_address("10.0.0.1")),)}, "10.0.0.1", False),
])
def test_the_certificate_must_name_the_node(common: str, more: dict[str, Any], node: str, may: bool) -> None:
    assert identity_of(AUTHORITY.issue(common, **more).certificate).speaks_for(node) is may


def test_an_identity_prints_its_names() -> None:
    assert str(Identity(("a",), ("spiffe://s/b",))) == "a, spiffe://s/b"
    assert str(identity_of(AUTHORITY.issue("").certificate)) == "no name"
