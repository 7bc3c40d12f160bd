"""`fallow-collector --check`: what the settings mean, and what can be tried of them without starting."""

import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from fallow_collector.alerts import credentials
from fallow_collector.alerts.address import shown
from fallow_collector.api.tokens import Tokens
from fallow_collector.config import Settings, is_loopback
from fallow_collector.health.rules import RulesError, load, shipped
from fallow_collector.inventory import load_inventory
from fallow_collector.made import alert_rules_of
from fallow_proto.settings import SettingsError, secret


class Line(NamedTuple):
    good: bool
    what: str
    found: str


def effective(settings: Settings) -> Iterator[str]:
    """Every key with the value that is in force, as TOML would name it; of receivers' addresses what is no secret."""
    receivers = tuple(
        msgspec.structs.replace(one, url=shown(one.url)) if one.url else one for one in settings.alerts.receivers
    )
    alerts = msgspec.structs.replace(settings.alerts, receivers=receivers)
    yield from _flat("", msgspec.to_builtins(msgspec.structs.replace(settings, alerts=alerts)))


def check(settings: Settings) -> Iterator[Line]:
    """Try one thing after the other."""
    for what, attempt in _ATTEMPTS:
        try:
            yield Line(True, what, attempt(settings))
        except (SettingsError, OSError) as error:
            yield Line(False, what, str(error))


def _flat(prefix: str, table: dict[str, object]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key} = {msgspec.json.encode(value).decode()}"


def _state(settings: Settings) -> str:
    folder = Path(settings.state.dir)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise SettingsError(
            f"[state] dir = {str(folder)!r}: nothing can be written in {there}: {error.strerror}; expected a folder of "
            f"the user that runs the collector"
        ) from error
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize / 2**30
    return f"{folder} is writable, {free:.1f} GiB free" if there == folder else f"{folder} can be made in {there}"


def _tls(settings: Settings) -> str:
    tls = settings.tls
    if not tls.cert:
        return "not used: plain text on this host only" if not settings.auth.insecure else "not used"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)
    except OSError as error:  # SSLError is one
        raise SettingsError(
            f"[tls] cert = {tls.cert!r}, key = {tls.key!r}, client_ca = {tls.client_ca!r} cannot be used: {error}; "
            f"expected PEM files, the key being the certificate's"
        ) from error
    return "certificate and key fit" + ("; agents must show a certificate" if tls.client_ca else "")


def _tokens(settings: Settings) -> str:
    if not settings.auth.tokens_file:
        return "none: whoever reaches the HTTP address may read and change everything"
    return f"{len(Tokens(Path(settings.auth.tokens_file)).current())} in {settings.auth.tokens_file}"


def _inventory(settings: Settings) -> str:
    if not settings.inventory.file:
        return "no file; devices may be declared with `fallow declare`"
    return f"{len(load_inventory(Path(settings.inventory.file)))} devices declared in {settings.inventory.file}"


def _rules(settings: Settings) -> str:
    if not settings.health.rules:
        return f"shipped, version {shipped().version}"
    try:
        return f"version {load(Path(settings.health.rules)).version} of {settings.health.rules}"
    except RulesError as error:
        raise SettingsError(f"[health] rules: {error}") from error


def _alert_rules(settings: Settings) -> str:
    found = alert_rules_of(settings)
    return f"{len(found.rules)}, and {len(found.inhibitions)} inhibitions"


def _receivers(settings: Settings) -> str:
    """Whether what they need can be read; nobody is asked."""
    faults = []
    for receiver in settings.alerts.receivers:
        try:
            credentials.read(receiver)
        except SettingsError as error:
            faults.append(f"[alerts] {error}")
    if faults:
        raise SettingsError("\n".join(faults))
    names = ", ".join(receiver.name for receiver in settings.alerts.receivers)
    return f"{names}; `fallow alerts test` sends one a message" if names else "none: nobody is told of alerts"


def _listen(settings: Settings, listen: str, key: str) -> str:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, int(port)), family=family).close()
    except OSError as error:
        raise SettingsError(
            f"[{key}] listen = {listen!r} cannot be bound: {error.strerror or error}; is a collector running already?"
        ) from error
    if is_loopback(listen):
        return f"{listen} is free; this host only"
    return f"{listen} is free; open to other hosts" + (", insecure" if settings.auth.insecure else "")


def _store(settings: Settings) -> str:
    if settings.store.kind == "embedded":
        return f"embedded, in {Path(settings.state.dir) / 'store'}"
    influx = settings.store.influx
    if influx.token_file:
        secret(influx.token_file, "[store.influx] token_file")
    url = urlsplit(influx.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError as error:
        raise SettingsError(
            f"[store.influx] url = {influx.url!r}: {host} port {port} cannot be reached: {error.strerror or error}"
        ) from error
    return f"{influx.url} can be reached"


_ATTEMPTS: tuple[tuple[str, Callable[[Settings], str]], ...] = (
    ("state", _state),
    ("store", _store),
    ("tls", _tls),
    ("tokens", _tokens),
    ("inventory", _inventory),
    ("rules", _rules),
    ("alert rules", _alert_rules),
    ("receivers", _receivers),
    ("grpc", lambda settings: _listen(settings, settings.grpc.listen, "grpc")),
    ("http", lambda settings: _listen(settings, settings.http.listen, "http")),
)
