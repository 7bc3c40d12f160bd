"""The keys of collector.toml, and what of them must not be combined."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import msgspec

from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.stores.embedded.settings import EmbeddedSettings
from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_proto.settings import load

DEFAULT_PATH = Path("/etc/fallow/collector.toml")
PREFIX = "FALLOW_COLLECTOR"


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:4917"

    def __post_init__(self) -> None:
        _check_listen(self.listen, 4917)


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:4918"

    def __post_init__(self) -> None:
        _check_listen(self.listen, 4918)


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files. Both listeners speak TLS when cert and key are set."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    """Agents must show a certificate of this authority that names their node."""
    agent_life_h: float = 168.0
    """Of the certificates that agents get from the collector's own authority."""

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key go together: set both or none")
        if self.client_ca and not self.cert:
            raise ValueError("client_ca needs cert and key: agents are only asked for a certificate over TLS")
        if not 0.001 <= self.agent_life_h <= 168.0:
            raise ValueError(f"agent_life_h = {self.agent_life_h:g}, expected 0.001 to 168, a week")


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    tokens_file: str = ""
    insecure: bool = False
    """Listen beyond this host without TLS, or without tokens."""


class StateSettings(msgspec.Struct, frozen=True, kw_only=True):
    dir: str = "/var/lib/fallow/collector"

    def __post_init__(self) -> None:
        if not self.dir:
            raise ValueError("dir is empty, expected a folder, such as /var/lib/fallow/collector")


class InventorySettings(msgspec.Struct, frozen=True, kw_only=True):
    file: str = ""


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True):
    rules: str = ""


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["embedded", "influx"] = "embedded"
    embedded: EmbeddedSettings = msgspec.field(default_factory=EmbeddedSettings)
    influx: InfluxSettings = msgspec.field(default_factory=InfluxSettings)

    def __post_init__(self) -> None:
        if self.kind == "influx" and not self.influx.url:
            raise ValueError("kind = \"influx\" needs [store.influx] url, such as http://127.0.0.1:8428")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    site: str = "default"
    grpc: GrpcSettings = msgspec.field(default_factory=GrpcSettings)
    http: HttpSettings = msgspec.field(default_factory=HttpSettings)
    tls: TlsSettings = msgspec.field(default_factory=TlsSettings)
    auth: AuthSettings = msgspec.field(default_factory=AuthSettings)
    state: StateSettings = msgspec.field(default_factory=StateSettings)
    inventory: InventorySettings = msgspec.field(default_factory=InventorySettings)
    store: StoreSettings = msgspec.field(default_factory=StoreSettings)
    health: HealthSettings = msgspec.field(default_factory=HealthSettings)
    idle: IdleSettings = msgspec.field(default_factory=IdleSettings)
    alerts: AlertsSettings = msgspec.field(default_factory=AlertsSettings)

    def __post_init__(self) -> None:
        if not self.site or not self.site.isprintable() or " " in self.site or len(self.site) > 253:
            raise ValueError(f"site = {self.site!r}, expected 1 to 253 printable characters without a space")
        for fault in exposure(self):
            raise ValueError(fault)


def exposure(settings: Settings) -> list[str]:
    """What would be open to strangers as these settings stand; empty when nothing is, or when that is meant."""
    if settings.auth.insecure:
        return []
    faults = []
    if not is_loopback(settings.grpc.listen) and not settings.tls.client_ca:
        faults.append(
            f"[grpc] listen = {settings.grpc.listen!r} is open beyond this host without mutual TLS: set [tls] cert, "
            f"key and client_ca, or listen on 127.0.0.1, or say [auth] insecure = true"
        )
    if not is_loopback(settings.http.listen) and not (settings.tls.cert and settings.auth.tokens_file):
        faults.append(
            f"[http] listen = {settings.http.listen!r} is open beyond this host without TLS and tokens: set [tls] cert "
            f"and key and [auth] tokens_file, or listen on 127.0.0.1, or say [auth] insecure = true"
        )
    return faults


def is_loopback(listen: str) -> bool:
    host = _host(listen)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(path: Path | None) -> Settings:
    """From a file, or from the default one if it is there, and the environment. Raises SettingsError."""
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    settings = load(Settings, path, PREFIX)
    return settings if path is None else _beside(path.parent, settings)


def _beside(folder: Path, settings: Settings) -> Settings:
    """With the files of rules where the configuration stands that names them, not where the collector is started."""
    health, alerts = settings.health, settings.alerts
    return msgspec.structs.replace(
        settings,
        health=msgspec.structs.replace(health, rules=str(folder / health.rules)) if health.rules else health,
        alerts=msgspec.structs.replace(alerts, rules=tuple(str(folder / name) for name in alerts.rules)),
    )


def _host(listen: str) -> str:
    return listen.rpartition(":")[0].removeprefix("[").removesuffix("]")


def _check_listen(listen: str, usual: int) -> None:
    host, _, port = listen.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not host or bare or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"listen = {listen!r}, expected host:port, such as 127.0.0.1:{usual} or [::]:{usual}")
