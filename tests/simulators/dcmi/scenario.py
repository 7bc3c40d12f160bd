"""What a simulated libdcmi.so answers, in DCMI's own units; libdcmi.c says how the file is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

AICORE, VECTOR_CORE, WHOLE_NPU = 2, 12, 13
"""Kinds of utilization, by the number that dcmi_get_device_utilization_rate takes."""


class Process(NamedTuple):
    pid: int
    memory_bytes: int


class Hang(NamedTuple):
    """A fault: the function does not return, for some seconds or until the scenario says otherwise."""

    seconds: float | None = None


Fault = int | Hang
"""What a function does instead of answering: it returns a code, or hangs."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip; the defaults are an idle 910B2. None: not supported.

    Faults go by the name of a C function, or "*" for all. `raw` overrides single keys of the file, for values that no
    chip should give.
    """

    card: int = 0
    chip: int = 0
    physical: int | None = 0
    name: str = "910B2"
    die: str | None = "E0F4EE64 802061B1 6A691492 89528485 104301E3"
    pci: str | None = "0000:C1:00.0"
    serial: str | None = "033EXK10NA000012"
    utilization_percent: Mapping[int, int] = field(default_factory=lambda: {AICORE: 0, WHOLE_NPU: 0})
    hbm_mebibytes: int | None = 65_536
    hbm_used_mebibytes: int = 3_432
    hbm_temperature_celsius: int = 46
    hbm_bandwidth_percent: int = 0
    ddr_mebibytes: int | None = None
    ddr_available_mebibytes: int = 0
    power_deciwatts: int | None = 1_013
    temperature_celsius: int | None = 47
    processes: tuple[Process, ...] | None = ()
    health: int | None = 0
    error_codes: tuple[int, ...] | None = ()
    faults: Mapping[str, Fault] = field(default_factory=dict)
    raw: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    chips: tuple[Chip, ...] = ()
    driver_version: str | None = "25.5.1"
    faults: Mapping[str, Fault] = field(default_factory=dict)


def ascend_910b2(number: int) -> Chip:
    """The idle 910B2 of this number in its node, on a card of its own, with an identity of its own."""
    return Chip(
        card=number, physical=number, die=f"E0F4EE64 802061B1 6A691492 89528485 {number:08X}",
        pci=f"0000:{0xC1 + number:02X}:00.0", serial=f"033EXK10NA{number:06}",
    )


def uuid_of(chip: Chip) -> str:
    """As Huawei's npu-exporter spells a die's id."""
    assert chip.die is not None
    return chip.die.replace(" ", "-")


def render(scenario: Scenario) -> str:
    """The text of the scenario file."""
    lines = [f"driver_version={scenario.driver_version}"] if scenario.driver_version is not None else []
    lines += _faults(scenario.faults)
    for chip in scenario.chips:
        lines.append("[device]")
        keys = {**_values(chip), **chip.raw}
        lines += [f"{key}={value}" for key, value in keys.items() if value is not None]
        lines += _faults(chip.faults)
    return "\n".join(lines) + "\n"


def _faults(faults: Mapping[str, Fault]) -> list[str]:
    return [f"fault.{function}={_fault(fault)}" for function, fault in faults.items()]


def _fault(fault: Fault) -> str:
    match fault:
        case Hang(None):
            return "hang"
        case Hang(seconds):
            return f"hang {seconds}"
        case code:
            return str(code)


def _values(chip: Chip) -> dict[str, str | int | None]:
    has_hbm, has_ddr = chip.hbm_mebibytes is not None, chip.ddr_mebibytes is not None
    processes, codes = chip.processes, chip.error_codes
    return {
        "card": chip.card,
        "chip": chip.chip,
        "type": 0,
        "physical": chip.physical,
        "name": chip.name,
        "die": chip.die,
        "pci": chip.pci,
        "serial": chip.serial,
        **{f"utilization.{kind}": percent for kind, percent in chip.utilization_percent.items()},
        "hbm_size": chip.hbm_mebibytes,
        "hbm_usage": chip.hbm_used_mebibytes if has_hbm else None,
        "hbm_temperature": chip.hbm_temperature_celsius if has_hbm else None,
        "hbm_bandwidth": chip.hbm_bandwidth_percent if has_hbm else None,
        "memory_size": chip.ddr_mebibytes,
        "memory_available": chip.ddr_available_mebibytes if has_ddr else None,
        "power": chip.power_deciwatts,
        "temperature": chip.temperature_celsius,
        "processes": None if processes is None else " ".join(f"{pid}:{memory}" for pid, memory in processes),
        "health": chip.health,
        "error_codes": None if codes is None else " ".join(f"{code:08x}" for code in codes),
    }
