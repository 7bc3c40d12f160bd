"""How both clients reach a collector."""

import ssl
from ipaddress import ip_address
from typing import TypedDict

import httpx

from fallow_client.errors import Unreachable

DEFAULT_URL = "http://127.0.0.1:4918"
CONNECT_S = 5.0
ANSWER_S = 60.0  # a long history may take the store that long
AGAIN_S = (0.2, 1.0, 3.0)  # between tries of a call that may be repeated: as long as a collector takes to restart


class ConnectionSettings(TypedDict):
    base_url: httpx.URL
    timeout: httpx.Timeout
    verify: ssl.SSLContext | bool
    trust_env: bool


def settings_for(url: str) -> ConnectionSettings:
    """Raises Unreachable if the URL cannot be one of a collector.

    Proxies of the environment are left aside: a collector is on this machine or inside the site, and the token should
    not pass through others. Certificates are checked against the system's, or those that SSL_CERT_FILE names.
    """
    try:
        base_url = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unreachable(f"{url!r} is not a URL: {error}; expected one such as {DEFAULT_URL}") from error
    if base_url.scheme not in ("http", "https") or not base_url.host:
        raise Unreachable(f"{url!r} is not a URL of a collector; expected one such as {DEFAULT_URL}")
    return ConnectionSettings(
        base_url=base_url,
        timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
        verify=ssl.create_default_context() if base_url.scheme == "https" else False,  # nothing to verify
        trust_env=False,
    )


def is_overheard(url: str) -> bool:
    """Whether others on the way can read what is sent there."""
    try:
        where = httpx.URL(url)
    except httpx.InvalidURL:
        return False  # nothing is sent there
    if where.scheme != "http" or where.host in ("", "localhost"):
        return False
    try:
        return not ip_address(where.host).is_loopback
    except ValueError:
        return True


def unreachable(url: str, error: httpx.HTTPError) -> Unreachable:
    what = "answered too slowly" if isinstance(error, httpx.ReadTimeout) else "cannot be reached"
    return Unreachable(
        f"the collector at {url} {what}: {error or type(error).__name__}; "
        f"is fallow-collector running there? --url or FALLOW_URL names another"
    )
