"""Where a receiver may be."""

import socket
from ipaddress import ip_address

import pytest

from fallow_collector.alerts.address import AddressRefused, refusal, shown, vetted


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fd00::1", "93.184.216.34",
    "2606:2800:220:1::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::5db8:d822",
])
def test_public_private_and_loopback_addresses_are_allowed(address: str) -> None:
    assert refusal(ip_address(address)) == ""


@pytest.mark.parametrize("address", [
    "169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "fd00:ec2::254", "100.100.100.200", "224.0.0.1", "ff02::1",
    "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:100.100.100.200",  # IPv4-mapped
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe",  # NAT64
    "2002:a9fe:a9fe::1", "2002:6464:64c8::",  # 6to4
    "::ffff:0:a9fe:a9fe",  # SIIT
    "::a9fe:a9fe",  # IPv4-compatible
    "fe80::1%eth0",
])
def test_link_local_metadata_multicast_and_no_addresses_are_refused_in_every_wrapping(address: str) -> None:
    assert refusal(ip_address(address))


@pytest.mark.parametrize("host", [
    "2852039166", "0xa9fea9fe", "0xa9.254.0251.254", "0251.0376.0251.0376", "169.254.43518", "0", "0x0",
])
def test_another_spelling_of_a_refused_address_is_refused(host: str) -> None:
    answers = [str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    with pytest.raises(AddressRefused):
        vetted(host, answers)


def test_one_bad_answer_among_good_ones_refuses_the_name() -> None:
    with pytest.raises(AddressRefused) as refused:
        vetted("hooks.example.com", ["93.184.216.34", "169.254.169.254"])
    assert str(refused.value) == (
        "hooks.example.com is at 169.254.169.254, a link-local address, which is never asked; "
        "expected the address of a receiver"
    )


def test_an_address_that_is_answered_twice_is_asked_once() -> None:
    assert vetted("h", ["127.0.0.1", "::1", "127.0.0.1"]) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(("url", "expected"), [
    ("https://hooks.slack.com/services/T0/B0/secret?x=1#y", "https://hooks.slack.com"),
    ("http://user:pass@10.0.0.1:9093/x", "http://10.0.0.1:9093"),
    ("http://[::1]:80/", "http://[::1]:80"),
    ("http://[half/secret", ""),
])
def test_of_a_url_only_scheme_host_and_port_are_shown(url: str, expected: str) -> None:
    assert shown(url) == expected
