"""Where a receiver may be. Whoever writes the configuration is trusted, what a name resolves to is not: a name that
suddenly leads to the metadata service of a cloud would hand its credentials to whoever reads our problems.

Private addresses and loopback are allowed, since receivers within a cluster are the normal case. Vetted is what the
resolver says, so every spelling of an address is covered, such as http://2852039166/ or http://0xa9.254.0251.254/.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200")))
"""Services of metadata outside link-local addresses: of Amazon (over IPv6) and of Alibaba."""

TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))
"""IPv6 with IPv4 in the last 32 bits: NAT64 (RFC 6052, 8215), SIIT (RFC 2765), IPv4-compatible (RFC 4291)."""

THIS_NETWORK = ip_network("0.0.0.0/8")


class AddressRefused(Exception):
    """The message says which address, and why; it names no more of the URL than the host."""


def vetted(host: str, answers: Iterable[str]) -> list[str]:
    """Every address that `host` resolved to, without repeats. Raises AddressRefused when one of them may not be asked:
    an answer of which one part is bad is nobody's honest mistake."""
    addresses = list(dict.fromkeys(answers))
    for address in addresses:
        if why := refusal(ip_address(address)):
            raise AddressRefused(
                f"{host} is at {address}, {why}, which is never asked; expected the address of a receiver"
            )
    return addresses


def refusal(address: IPv4Address | IPv6Address) -> str:
    """What is wrong with it; empty: nothing."""
    if isinstance(address, IPv6Address) and (inner := _inner(address)):
        if why := refusal(inner):
            return f"which stands for {inner}, {why}"
    elif address.is_unspecified or (address.version == 4 and address in THIS_NETWORK):
        return "no address of any host"
    if address in METADATA:
        return "a cloud's metadata service"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    return "a reserved address" if address.version == 4 and address.is_reserved else ""


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that it stands for."""
    if address in (IPv6Address("::"), IPv6Address("::1")):
        return None
    if inner := address.ipv4_mapped or address.sixtofour:
        return inner
    if any(address in network for network in TRANSLATED):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def shown(url: str) -> str:
    """Scheme, host and port: what may be shown of a URL, whose rest may be secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
