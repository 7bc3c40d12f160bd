"""agent.toml: every key has a default, and a bad value is refused with what would be right."""

import ipaddress
import socket
from pathlib import Path

import msgspec

from fallow_agent.errors import ConfigError
from fallow_agent.readers.registry import READERS
from fallow_proto.settings import SettingsError, load

DEFAULT_PATH = Path("/etc/fallow/agent.toml")
PREFIX = "FALLOW_AGENT"
RUN_DIR = "/run/fallow"
AUTO = "auto"
_NAME_LENGTH = 253  # the longest DNS name
_READER_CHOICE = f"one of {', '.join((AUTO, *READERS))}"


class Readers(msgspec.Struct, kw_only=True):
    enabled: list[str] = msgspec.field(default_factory=lambda: [AUTO])
    deadline_s: float = 5.0
    run_dir: str = RUN_DIR
    kernel_log: str = "/dev/kmsg"


class SpoolSettings(msgspec.Struct, kw_only=True):
    dir: str = "/var/lib/fallow/agent"
    max_mib: int = 1024
    max_age_h: float = 72.0


class Tls(msgspec.Struct, kw_only=True):
    ca: str = ""
    cert: str = ""
    key: str = ""


class Kubernetes(msgspec.Struct, kw_only=True):
    pod_resources: str = ""


class Settings(msgspec.Struct, kw_only=True):
    site: str = "default"
    node: str = ""
    rack: str = ""
    collector: str = "127.0.0.1:4917"
    interval_s: float = 1.0
    readers: Readers = msgspec.field(default_factory=Readers)
    spool: SpoolSettings = msgspec.field(default_factory=SpoolSettings)
    tls: Tls = msgspec.field(default_factory=Tls)
    kubernetes: Kubernetes = msgspec.field(default_factory=Kubernetes)
    insecure: bool = False

    @property
    def node_name(self) -> str:
        """The node's name: as configured, else the host's."""
        return self.node or socket.gethostname()

    @property
    def reader_names(self) -> list[str]:
        """The readers that are to run; "auto" means every one, and those of absent vendors end by themselves."""
        return list(READERS) if AUTO in self.readers.enabled else list(dict.fromkeys(self.readers.enabled))

    @property
    def has_tls(self) -> bool:
        return bool(self.tls.ca)


def read(path: Path | None, *, enrolled: bool = True) -> Settings:
    """Settings of a file (None: the default path if there is one) and of FALLOW_AGENT_… Raises ConfigError.

    enrolled: False: the node is about to get its certificate, so it may have none yet.
    """
    if path is None and _is_there(DEFAULT_PATH):
        path = DEFAULT_PATH
    try:
        settings = load(Settings, path, PREFIX)
    except SettingsError as error:
        raise ConfigError(str(error)) from error
    faults = complaints(settings)
    if enrolled and not faults and (exposed := _exposure(settings)):
        faults = [exposed]
    if faults:
        where = path or "configuration"
        raise ConfigError("\n".join(f"{where}: {fault}" for fault in faults))
    return settings


def _is_there(path: Path) -> bool:
    """Also when this user may not look: then it is for reading to fail, and not for the defaults to stand in."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def complaints(settings: Settings) -> list[str]:
    """What is wrong, a sentence each: the key, its value, what would be right."""
    found = [
        _name_fault("site", settings.site),
        _name_fault("node" if settings.node else "node is not set, and the host name", settings.node_name),
        _name_fault("rack", settings.rack) if settings.rack else "",
        _between("interval_s", settings.interval_s, 0.1, 10.0),
        _between("readers.deadline_s", settings.readers.deadline_s, 0.1, 60.0),
        _between("spool.max_mib", settings.spool.max_mib, 1, 1 << 20),
        _between("spool.max_age_h", settings.spool.max_age_h, 0.01, 8_760.0),
        _folder_fault("readers.run_dir", settings.readers.run_dir),
        _folder_fault("readers.kernel_log", settings.readers.kernel_log) if settings.readers.kernel_log else "",
        _folder_fault("spool.dir", settings.spool.dir),
        _socket_fault("kubernetes.pod_resources", settings.kubernetes.pod_resources),
        "" if settings.readers.enabled else f"readers.enabled = [], expected {_READER_CHOICE}",
        *(_reader_fault(name) for name in settings.readers.enabled),
        _collector_fault(settings),
        _tls_fault(settings.tls),
    ]
    return [fault for fault in found if fault]


def host_and_port(address: str) -> tuple[str, int]:
    """Of "host:port" or "[::1]:port". Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        ipaddress.IPv6Address(host)
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError("host and port are needed")
    return host, int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_fault(key: str, name: str) -> str:
    if not name:
        return f'{key} = "", expected a name'
    if len(name) > _NAME_LENGTH:
        return f"{key} = {name[:20]!r}… has {len(name)} characters, expected at most {_NAME_LENGTH}"
    if not name.isprintable() or " " in name:
        return f"{key} = {name!r}, expected a name without spaces and control characters"
    return ""


def _between(key: str, value: float, low: float, high: float) -> str:
    return "" if low <= value <= high else f"{key} = {value}, expected {low:g} to {high:g}"


def _folder_fault(key: str, path: str) -> str:
    good = Path(path).is_absolute() and path.isprintable()
    return "" if good else f"{key} = {path!r}, expected an absolute path without control characters"


def _socket_fault(key: str, path: str) -> str:
    good = not path or (Path(path).is_absolute() and path.isprintable())
    return "" if good else f"{key} = {path!r}, expected the absolute path of a socket, or nothing"


def _reader_fault(name: str) -> str:
    if name in (AUTO, *READERS):
        return ""
    return f"readers.enabled names {name!r}, expected {_READER_CHOICE}"


def _collector_fault(settings: Settings) -> str:
    try:
        host, _ = host_and_port(settings.collector)
    except ValueError as error:
        return f'collector = {settings.collector!r}, expected "host:port", e.g. "collector.example:4917" ({error})'
    if any(not character.isprintable() or character in " /" for character in host):
        return f'collector = {settings.collector!r}, expected "host:port" without a scheme, spaces or slashes'
    return ""


def _exposure(settings: Settings) -> str:
    """What strangers could do on the way to the collector, empty if nothing or if that is meant."""
    host = settings.collector.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if settings.has_tls or settings.insecure or is_loopback(host):
        return ""
    return (
        f"collector = {settings.collector!r} is another machine and [tls] is empty, so that anybody on the way could "
        "read and change what is sent; set tls.ca, tls.cert and tls.key, or insecure = true if that is meant"
    )


def _tls_fault(tls: Tls) -> str:
    values = {"tls.ca": tls.ca, "tls.cert": tls.cert, "tls.key": tls.key}
    missing = [key for key, value in values.items() if not value]
    if len(missing) not in (0, 3):
        return f"{' and '.join(missing)} not set, expected ca, cert and key together"
    odd = next((key for key, value in values.items() if not value.isprintable()), "")
    return f"{odd} = {values[odd]!r}, expected a path without control characters" if odd else ""
