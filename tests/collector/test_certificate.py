"""For how long a certificate is valid."""

from datetime import timedelta
from time import time

import pytest

from fallow_collector.certificate import Validity, leaf_fault, validity_of
from tests.collector.ingest.certificates import Authority


def test_of_a_file_of_several_certificates_the_first_counts() -> None:
    authority = Authority()
    pair = authority.issue("n1", valid=timedelta(days=3))
    valid = validity_of(pair.certificate + authority.pem)
    assert valid is not None
    assert valid.remaining_s(time()) == pytest.approx(3 * 86400, abs=60)
    assert valid.remaining_ratio(time()) == pytest.approx(0.75, abs=0.01), "it is a day old"


def test_what_has_expired_or_has_not_begun_stays_within_its_life() -> None:
    valid = Validity(1000.0, 2000.0)
    assert (valid.remaining_s(3000.0), valid.remaining_ratio(3000.0)) == (0.0, 0.0)
    assert valid.remaining_ratio(0.0) == 1.0


@pytest.mark.parametrize("pem", [
    b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
])
def test_what_is_no_certificate_is_not_known(pem: bytes) -> None:
    assert validity_of(pem) is None


def test_a_leaf_with_one_id_may_stand_for_somebody() -> None:
    authority = Authority()
    for pair in (authority.issue("n1"), authority.issue("", uris=("spiffe://site/agent/n1",))):
        assert leaf_fault(pair.certificate) == ""


def test_an_authority_and_a_leaf_with_two_ids_may_not() -> None:
    authority = Authority()
    assert "is an authority's" in leaf_fault(authority.pem)
    for second in ("spiffe://site/agent/n2", "https://site/n1"):
        pair = authority.issue("", uris=("spiffe://site/agent/n1", second))
        assert "bears 2 URIs" in leaf_fault(pair.certificate)
