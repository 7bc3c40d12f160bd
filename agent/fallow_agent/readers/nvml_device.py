"""One NVIDIA device: who it is, what it can say, and what it says at one tick."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import pynvml as nvml

from fallow_agent.readers.nvlink import Reach, address_of, reach_of
from fallow_agent.readers.nvml_calls import CALLS, GIVEN, ProcessLists
from fallow_agent.readers.nvml_fields import Call, Handle, call_of, fields_of
from fallow_agent.readers.nvml_gpm import GpmActivity
from fallow_agent.readers.nvml_links import LinkStates, error_rows, links_of
from fallow_agent.readers.nvml_values import UNSUPPORTED, WHOLE_DEVICE, reason_of, rows_of
from fallow_agent.readers.reader import DeviceIdentity, Process, Reading
from fallow_proto.metrics import BY_NAME, Group
from fallow_proto.states import Condition
from fallow_proto.v1.telemetry_pb2 import Reason

_T = TypeVar("_T")


class Modes(NamedTuple):
    """Settings that an administrator changes under a running driver; None where the device does not tell."""

    compute: int | None
    mig: tuple[int, int] | None  # current, and from the next reset on
    ecc: tuple[int, int] | None

    @property
    def conditions(self) -> tuple[str, ...]:
        found: list[str] = []
        if self.compute == nvml.NVML_COMPUTEMODE_PROHIBITED:
            found.append(Condition.COMPUTE_PROHIBITED)
        if any(mode is not None and mode[0] != mode[1] for mode in (self.mig, self.ecc)):
            found.append(Condition.MODE_CHANGE_PENDING)
        return tuple(found)

    @property
    def current(self) -> str:
        """What changes the baseline, e.g. "mig=0 ecc=1"."""
        modes = {"mig": self.mig, "ecc": self.ecc}
        return " ".join(f"{name}={mode[0]}" for name, mode in modes.items() if mode is not None)

    def differ(self, later: "Modes") -> bool:
        """Whether `later` tells something else; what it does not tell is no difference."""
        return any(new is not None and new != old for old, new in zip(self, later, strict=True))


class NvmlDevice:
    """A device under its handle, which is good until nvmlShutdown."""

    def __init__(self, index: int, driver_version: str) -> None:
        """Name the device and find out what it can say. Raises NVMLError when it cannot be named."""
        self.handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = nvml.nvmlDeviceGetUUID(self.handle)
        model = nvml.nvmlDeviceGetName(self.handle)
        self._modes = _modes_of(self.handle)
        self._gpm = GpmActivity()
        self._calls = list(_usable(self.handle, self._gpm))
        self._withdrawn = False  # the driver took back a call that it answered at first
        self.identity = DeviceIdentity(
            uuid=uuid,
            vendor="nvidia",
            model=model,
            index=index,
            minor=_optional(nvml.nvmlDeviceGetMinorNumber, self.handle),
            pci_bus_id=_pci_bus_id(self.handle),
            serial=_optional(nvml.nvmlDeviceGetSerial, self.handle) or "",
            driver_version=driver_version,
            unsupported=GIVEN.difference(*(call.metrics for call in self._calls)),
            conditions=self._modes.conditions,
            mode=self._modes.current,
        )

    def read(self, group: Group) -> Reading:
        """What the device says now. Raises NVMLError when the driver as a whole does not answer."""
        uuid = self.identity.uuid
        values: dict[str, float] = {}
        processes: tuple[Process, ...] = ()
        failed = Reason.REASON_OK
        for call in tuple(self._calls):
            if _group_of(call) is not group:
                continue
            try:
                told = call.ask(self.handle)
            except nvml.NVMLError as error:
                reason = reason_of(error.value)
                if reason == Reason.REASON_DRIVER:
                    raise
                if reason in WHOLE_DEVICE:
                    self._gpm.forget()
                    return Reading(uuid, reason=reason)
                if error.value in UNSUPPORTED:
                    self._calls.remove(call)
                    self._withdrawn = True
                else:
                    failed = failed or reason
            else:
                values |= told.values
                processes = told.processes or processes
        return Reading(uuid, values, processes=processes) if values else Reading(uuid, reason=failed)

    def close(self) -> None:
        """Free what the driver keeps for it; before nvmlShutdown."""
        self._gpm.close()

    def reach(self) -> Reach:
        """Where its links lead. Some calls a link."""
        return reach_of(self.handle, self.identity.pci_bus_id)

    def changed(self) -> bool:
        """Whether its identity is out of date. Three calls."""
        return self._withdrawn or self._modes.differ(_modes_of(self.handle))


def _usable(handle: Handle, gpm: GpmActivity) -> Iterator[Call]:
    """The calls that the device's driver does not declare unsupported, each for something that none before it gives.

    A device that is lost or slow just now is not asked further: what it cannot say is for its driver to declare.
    """
    given: set[str] = set()
    silent = False
    fields = [fields_of(handle, rows_of(group)) for group in Group]
    activity = Call(("compute_active_ratio",), gpm.ask)
    for call in (*fields, *_of_links(handle), *CALLS, Call(("processes",), ProcessLists().ask), activity):
        if given.issuperset(call.metrics):
            continue
        code = nvml.NVML_SUCCESS if silent else _code_of(call, handle)
        silent = silent or reason_of(code) in WHOLE_DEVICE
        if code not in UNSUPPORTED:
            given.update(call.metrics)
            yield call


def _of_links(handle: Handle) -> Iterator[Call]:
    links = links_of(handle)
    if links:
        yield Call(("links", "links_inactive"), LinkStates(links).ask)
        yield call_of(error_rows(handle, links))


def _code_of(call: Call, handle: Handle) -> int:
    try:
        call.ask(handle)
    except nvml.NVMLError as error:
        return int(error.value)
    return int(nvml.NVML_SUCCESS)


def _group_of(call: Call) -> Group:
    return BY_NAME[call.metrics[0]].group


def _modes_of(handle: Handle) -> Modes:
    mig = _optional(nvml.nvmlDeviceGetMigMode, handle)
    ecc = _optional(nvml.nvmlDeviceGetEccMode, handle)
    return Modes(
        compute=_optional(nvml.nvmlDeviceGetComputeMode, handle),
        mig=(mig[0], mig[1]) if mig else None,
        ecc=(ecc[0], ecc[1]) if ecc else None,
    )


def _pci_bus_id(handle: Handle) -> str:
    info = _optional(nvml.nvmlDeviceGetPciInfo_v3, handle)
    return address_of(info) if info else ""


def _optional(function: Callable[[Handle], _T], handle: Handle) -> _T | None:
    """What adds to an identity and is not needed for it: None when it cannot be had."""
    try:
        return function(handle)
    except nvml.NVMLError:
        return None
