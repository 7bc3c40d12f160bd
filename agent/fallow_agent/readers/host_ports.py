"""InfiniBand and RoCE ports: which of those that carried traffic do not any more.

Source: /sys/class/infiniband (Documentation/ABI/stable/sysfs-class-infiniband). Reading `state` and `rate` asks the
adapter's firmware; one that is dead keeps the caller waiting.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fallow_agent.happening import Happening
from fallow_proto.states import EventKind

ACTIVE = "ACTIVE"
_GONE = "gone"


class Port(NamedTuple):
    """`state` in the kernel's word (ACTIVE, DOWN, INIT, ARMED, …), None where it cannot be read; the others as it has
    them, empty where they cannot be read.
    """

    state: str | None
    layer: str = ""  # InfiniBand, Ethernet
    rate: str = ""  # 400 Gb/sec (4X NDR)

    @property
    def link(self) -> str:
        """For people."""
        return ", ".join(filter(None, (self.layer, self.rate)))


def folders(sys: Path) -> dict[str, Path]:
    """By device and number, "mlx5_0/1", in order; none where there is no such adapter or its driver is not loaded."""
    return {
        f"{device.name}/{port.name}": port
        for device in _listed(sys / "class/infiniband") for port in _listed(device / "ports")
    }


def found(sys: Path) -> dict[str, Port]:
    """The ports there are. May hang with the adapter."""
    ports = {}
    for name, folder in folders(sys).items():
        _, _, state = (_text(folder / "state") or "").partition(": ")  # "4: ACTIVE"
        ports[name] = Port(state or None, _text(folder / "link_layer") or "", _text(folder / "rate") or "")
    return ports


class Count(NamedTuple):
    ports: int
    down: int | None


class PortWatch:
    """Ports that were active once since this began to watch: one that never was is not cabled."""

    def __init__(self) -> None:
        self._last: dict[str, Port] = {}  # of each that was active, how it was seen last with a known state
        self._places: list[str] = []

    def take(self, ports: Mapping[str, Port]) -> list[Happening]:
        """What happened since the last call. `code` is the port's place, so that two that flap are two events."""
        happened = []
        for name, port in {**dict.fromkeys(self._last, Port(_GONE)), **ports}.items():
            before = self._last.get(name)
            if before is None and port.state == ACTIVE:
                self._places.append(name)
                self._last[name] = port
            elif before is not None and port.state is not None:
                if (port.state == ACTIVE) != (before.state == ACTIVE):
                    happened.append(self._change(name, before, port))
                self._last[name] = port
        return happened

    def count(self, ports: Mapping[str, Port]) -> Count:
        """How many of the ports that were ever active are not; None while one of them does not say."""
        if any(port.state is None for name, port in ports.items() if name in self._last):
            return Count(len(self._last), None)
        return Count(len(self._last), sum(port.state != ACTIVE for port in self._last.values()))

    def _change(self, name: str, before: Port, now: Port) -> Happening:
        up = now.state == ACTIVE
        link = (now if up else before).link
        return Happening(
            EventKind.PORT_UP if up else EventKind.PORT_DOWN, "",
            f"port {name}{f' ({link})' if link else ''} went from {before.state} to {now.state}",
            code=self._places.index(name), source="sysfs",
        )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # none, or it was just removed
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
