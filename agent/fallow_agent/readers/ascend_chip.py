"""One Ascend chip: who it is, what it can say, and what it says at one tick."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

from fallow_agent.readers.dcmi_library import Chip, Dcmi, DcmiError
from fallow_agent.readers.dcmi_values import (
    GONE,
    UNSUPPORTED,
    WHOLE_CHIP,
    die_name,
    known,
    memory,
    reason_of,
    recovery_action,
    utilization,
)
from fallow_agent.readers.reader import DeviceIdentity, Process, Reading
from fallow_proto.metrics import BY_NAME, Group
from fallow_proto.v1.telemetry_pb2 import Reason

_T = TypeVar("_T")

UTILIZATIONS = (2, 12, 13)
"""dcmi_get_device_utilization_rate's kinds of work that count: AI cores, vector cores (310P), the chip as a whole."""

DEVICE_NOT_EXIST = -8008


class Told(NamedTuple):
    values: dict[str, float]
    processes: tuple[Process, ...] = ()
    faults: frozenset[int] | None = None  # codes of those that last now; None: not asked for


class Names(NamedTuple):
    """serial: of the card that it is on; empty: not known."""

    logic_id: int
    model: str
    uuid: str
    serial: str


class Call(NamedTuple):
    """What one question may give; asked, it tells or raises DcmiError."""

    metrics: tuple[str, ...]
    ask: Callable[[Dcmi, Chip], Told]


def _hbm(dcmi: Dcmi, at: Chip) -> Told:
    hbm = dcmi.hbm(at)
    return Told(
        memory(hbm.size, hbm.usage)
        | known("memory_temperature_celsius", hbm.temperature)
        | known("memory_bandwidth_active_ratio", hbm.bandwidth_percent, 0.01)
    )


def _ddr(dcmi: Dcmi, at: Chip) -> Told:
    ddr = dcmi.memory(at)
    return Told(memory(ddr.size, ddr.size - ddr.available))


def _power(dcmi: Dcmi, at: Chip) -> Told:
    return Told(known("power_watts", dcmi.power_deciwatts(at), 0.1))


def _temperature(dcmi: Dcmi, at: Chip) -> Told:
    return Told(known("temperature_celsius", dcmi.temperature_celsius(at)))


def _processes(dcmi: Dcmi, at: Chip) -> Told:
    processes = tuple(Process(pid, float(memory_bytes)) for pid, memory_bytes in dcmi.processes(at))
    return Told({"processes": float(len(processes))}, processes)


def _health(dcmi: Dcmi, at: Chip) -> Told:
    """Faults are asked for only while there are any."""
    health = dcmi.health(at)
    if health == GONE:
        raise DcmiError("dcmi_get_device_health", DEVICE_NOT_EXIST)
    faults = dcmi.error_codes(at) if health else []
    return Told(known("recovery_action", recovery_action(health, faults)), faults=frozenset(faults))


CALLS: tuple[Call, ...] = (
    Call(("recovery_action",), _health),
    Call((
        "memory_usage_bytes", "memory_limit_bytes", "memory_temperature_celsius", "memory_bandwidth_active_ratio",
    ), _hbm),
    Call(("memory_usage_bytes", "memory_limit_bytes"), _ddr),
    Call(("power_watts",), _power),
    Call(("temperature_celsius",), _temperature),
    Call(("processes",), _processes),
)
"""Beside the utilization. A call is used for what none before it gives; a chip without HBM (310P) has DDR."""

GIVEN = frozenset({"utilization_ratio", *(metric for call in CALLS for metric in call.metrics)})
"""All metrics that the ascend reader may give. DCMI has neither a power limit nor an energy counter."""


class AscendChip:
    """A chip under its address."""

    def __init__(self, dcmi: Dcmi, at: Chip, driver_version: str) -> None:
        """Name the chip and find out what it can say. Raises DcmiError when it cannot be named."""
        self._dcmi, self._at = dcmi, at
        names = names_of(dcmi, at)
        self._calls = list(self._usable())
        self._withdrawn = False  # the driver took back a call that it answered at first
        self._faults: frozenset[int] = frozenset()
        self._began: list[int] = []
        self.identity = DeviceIdentity(
            uuid=names.uuid,
            vendor="ascend",
            model=names.model,
            index=names.logic_id,
            minor=_optional(lambda _: dcmi.physical_id(names.logic_id), at),
            pci_bus_id=_optional(dcmi.pci_address, at) or "",
            serial=names.serial,
            driver_version=driver_version,
            unsupported=GIVEN.difference(*(call.metrics for call in self._calls)),
        )

    def read(self, group: Group) -> Reading:
        uuid = self.identity.uuid
        values: dict[str, float] = {}
        processes: tuple[Process, ...] = ()
        failed = Reason.REASON_OK
        for call in tuple(self._calls):
            if BY_NAME[call.metrics[0]].group is not group:
                continue
            try:
                told = call.ask(self._dcmi, self._at)
            except DcmiError as error:
                reason = reason_of(error.code)
                if reason in WHOLE_CHIP:
                    return Reading(uuid, reason=reason)
                if error.code in UNSUPPORTED:
                    self._calls.remove(call)
                    self._withdrawn = True
                else:
                    failed = failed or reason
            else:
                values |= told.values
                processes = told.processes or processes
                if told.faults is not None:
                    self._began += sorted(told.faults - self._faults)
                    self._faults = told.faults
        return Reading(uuid, values, processes=processes) if values else Reading(uuid, reason=failed)

    def begun(self) -> list[int]:
        """Codes of faults that reads found and that were not told of yet."""
        begun, self._began = self._began, []
        return begun

    def changed(self) -> bool:
        """Whether its identity is out of date. No call."""
        return self._withdrawn

    def _usable(self) -> Iterator[Call]:
        """The calls that the driver does not declare unsupported, each for something that none before it gives.

        A chip that is lost or slow just now is not asked further: what it cannot say is for its driver to declare.
        """
        kinds = [
            kind for kind in UTILIZATIONS
            if self._code(partial(self._dcmi.utilization_percent, kind=kind)) not in UNSUPPORTED
        ]
        if kinds:
            yield Call(("utilization_ratio",), lambda dcmi, at: Told(
                utilization([dcmi.utilization_percent(at, kind) for kind in kinds])
            ))
        given: set[str] = set()
        silent = False
        for call in CALLS:
            if given.issuperset(call.metrics):
                continue
            code = 0 if silent else self._code(partial(call.ask, self._dcmi))
            silent = silent or reason_of(code) in WHOLE_CHIP
            if code not in UNSUPPORTED:
                given.update(call.metrics)
                yield call

    def _code(self, ask: Callable[[Chip], object]) -> int:
        try:
            ask(self._at)
        except DcmiError as error:
            return error.code
        return 0


def names_of(dcmi: Dcmi, at: Chip) -> Names:
    """Raises DcmiError when they are not enough to name it."""
    logic_id, model = dcmi.logic_id(at), dcmi.name(at)
    die = die_name(_optional(dcmi.die_id, at) or ())
    serial = _optional(dcmi.serial, at) or ""
    if not model or not (die or serial):
        raise DcmiError("a chip without a name, or with neither die id nor serial number,", 0)
    return Names(logic_id, model, die or f"{serial}-{at.chip}", serial)


def _optional(ask: Callable[[Chip], _T], at: Chip) -> _T | None:
    """What adds to an identity and is not needed for it: None when it cannot be had."""
    try:
        return ask(at)
    except DcmiError:
        return None
