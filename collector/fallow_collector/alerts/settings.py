"""The keys of [alerts] in collector.toml."""

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from fallow_collector.alerts.address import AddressRefused, vetted
from fallow_collector.alerts.matchers import LABEL, MatcherError, parse_all

ReceiverType = Literal["webhook", "alertmanager", "feishu", "dingtalk", "wecom", "slack"]


class ReceiverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """url or url_file: where to; a file where the address itself is a secret, as Slack's is. secret_file: what
    messages are signed with. token_file: a bearer token. matchers: `severity="critical"`; empty: every alert."""

    name: str
    type: ReceiverType
    url: str = ""
    url_file: str = ""
    secret_file: str = ""
    token_file: str = ""
    matchers: tuple[str, ...] = ()
    send_resolved: bool = True

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or len(self.name) > 128:
            raise ValueError(f"receiver name = {self.name!r}, expected 1 to 128 printable characters")
        if bool(self.url) == bool(self.url_file):
            raise ValueError(f"receiver {self.name!r} needs either url or url_file")
        if self.url:
            check_url(self.name, self.url)
        try:
            parse_all(self.matchers)
        except MatcherError as error:
            raise ValueError(f"receiver {self.name!r}: {error}") from error


class AlertsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """rules: files beside the built-in ones; a rule of a built-in one's name takes its place. Times in seconds."""

    rules: tuple[str, ...] = ()
    builtin: bool = True
    interval_s: float = 5.0
    group_by: tuple[str, ...] = ("alertname", "site")
    group_wait_s: float = 10.0
    group_interval_s: float = 60.0
    repeat_interval_s: float = 14400.0
    external_url: str = ""
    receivers: tuple[ReceiverSettings, ...] = ()

    def __post_init__(self) -> None:
        if not 1.0 <= self.interval_s <= 300.0:
            raise ValueError(f"interval_s = {self.interval_s:g}, expected 1 to 300 seconds")
        for key in ("group_wait_s", "group_interval_s", "repeat_interval_s"):
            value = getattr(self, key)
            if not 0.0 <= value <= 7 * 86400.0:
                raise ValueError(f"{key} = {value:g}, expected 0 to 604800 seconds")
        if self.group_interval_s == 0.0 or self.repeat_interval_s < self.group_interval_s:
            raise ValueError(
                f"repeat_interval_s = {self.repeat_interval_s:g} and group_interval_s = {self.group_interval_s:g}: "
                f"expected a group interval above 0, and a repeat interval of at least that"
            )
        for label in self.group_by:
            if not LABEL.fullmatch(label):
                raise ValueError(f"group_by: {label!r} is no name of a label, expected such as node")
        if self.external_url and not _is_url(self.external_url):
            raise ValueError(f"external_url = {self.external_url!r}, expected such as https://fallow.example.com")
        names = [receiver.name for receiver in self.receivers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two receivers are called {twice[0]!r}; expected a name of its own for each")


def check_url(receiver: str, url: str) -> None:
    """Raises ValueError; the message does not repeat what may be secret in it. What a name leads to is looked at
    when it is asked."""
    if not _is_url(url):
        raise ValueError(f"receiver {receiver!r}: its url is not one; expected such as https://hooks.example.com/alerts")
    host = urlsplit(url).hostname or ""
    try:
        vetted(host, [str(ip_address(host))])
    except AddressRefused as error:
        raise ValueError(f"receiver {receiver!r}: {error}") from error
    except ValueError:
        return  # a name


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return good and url.isprintable() and " " not in url
