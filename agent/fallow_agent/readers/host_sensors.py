"""Power, energy and temperature of a host's CPUs, where the kernel shows them to the agent's user."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LONGEST_GAP_S = 60.0
"""A 32-bit energy counter of 15 µJ a unit comes round after about 3 minutes at 350 W; after longer silence than this,
how often it did cannot be told."""

# hwmon drivers of CPUs, and the label of the sensor that speaks for a whole package. The cores' own sensors are left
# alone: each costs an interrupt on its core.
_PACKAGE_LABELS = {
    "coretemp": ("Package id",),
    "k10temp": ("Tdie", "Tctl"),
    "zenpower": ("Tdie", "Tctl"),
    "cpu_thermal": ("",),
}


class Power(NamedTuple):
    joules: float  # since the counters began to be read, plus what they showed then
    watts: float | None  # since the reading before; None on the first, and after too long a gap


@dataclass(slots=True)
class Rapl:
    """The packages' energy counters (/sys/class/powercap/intel-rapl:N, AMD's too), each of which wraps."""

    zones: tuple[tuple[Path, int], ...]  # energy_uj, and the value after which it starts from 0
    _before: tuple[int, ...] = ()
    _at: float = 0.0
    _total_uj: int = field(default=0)

    @classmethod
    def find(cls, sys: Path) -> "Rapl | None":
        """None where there are none, or only root may read them, as since CVE-2020-8694."""
        zones = []
        for zone in sorted((sys / "class/powercap").glob("intel-rapl:*")):
            if zone.name.count(":") == 1 and (_text(zone / "name") or "").startswith("package"):
                largest = _number(zone / "max_energy_range_uj")
                if _number(zone / "energy_uj") is None or not largest:
                    return None  # the host's power is that of all its packages, or not known
                zones.append((zone / "energy_uj", largest))
        return cls(tuple(zones)) if zones else None

    def read(self, now: float) -> Power | None:
        """now: seconds on a clock that never goes back."""
        found = [_number(path) for path, _ in self.zones]
        values = tuple(value for value in found if value is not None)
        if len(values) != len(found):
            return None
        if not self._before:
            self._before, self._at, self._total_uj = values, now, sum(values)
            return Power(self._total_uj / 1e6, None)
        used = sum(
            value - before + (largest if value < before else 0)
            for value, before, (_, largest) in zip(values, self._before, self.zones, strict=True)
        )
        seconds = now - self._at
        self._before, self._at, self._total_uj = values, now, self._total_uj + used
        return Power(self._total_uj / 1e6, used / 1e6 / seconds if 0 < seconds <= LONGEST_GAP_S else None)


def find_temperatures(sys: Path) -> tuple[Path, ...]:
    """One file a package, in thousandths of a degree."""
    found = []
    for hwmon in sorted((sys / "class/hwmon").glob("hwmon*")):
        labels = _PACKAGE_LABELS.get(_text(hwmon / "name") or "", ())
        inputs = sorted(hwmon.glob("temp*_input"))
        for wanted in labels:
            matching = [path for path in inputs if (_text(_label_of(path)) or "").startswith(wanted)]
            if matching:
                found += matching
                break
    return tuple(found)


def hottest_celsius(files: tuple[Path, ...]) -> float | None:
    known = [value for value in map(_number, files) if value is not None]
    return max(known) / 1_000 if known else None


def _label_of(temperature: Path) -> Path:
    return temperature.with_name(temperature.name.replace("_input", "_label"))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None
