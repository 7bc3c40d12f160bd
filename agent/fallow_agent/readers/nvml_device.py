"""One NVIDIA device, a board or a partition of one: what it can say, and what it says at one tick."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pynvml as nvml

from fallow_agent.readers.nvml_calls import GIVEN
from fallow_agent.readers.nvml_fields import Call, Handle
from fallow_agent.readers.nvml_gpm import GpmActivity
from fallow_agent.readers.nvml_values import UNSUPPORTED, WHOLE_DEVICE, reason_of
from fallow_agent.readers.reader import DeviceIdentity, Process, Reading
from fallow_proto.metrics import BY_NAME, Group
from fallow_proto.v1.telemetry_pb2 import Reason


class NvmlDevice:
    """A device under its handle: of a board good until nvmlShutdown, of a partition until it is destroyed."""

    def __init__(
        self, handle: Handle, identity: DeviceIdentity, calls: Iterable[Call], gpm: GpmActivity | None
    ) -> None:
        """Find out which of these calls the device answers, and GPM beside. gpm: None, it is not to be asked."""
        self.handle = handle
        self._gpm = gpm
        activity = [] if gpm is None else [Call(("compute_active_ratio",), gpm.ask)]
        self._calls = list(_usable(handle, [*calls, *activity]))
        self.withdrawn = False
        """Whether the driver took back a call that it answered at first, or never had what was assumed."""
        self.identity = replace(identity, unsupported=GIVEN.difference(*(call.metrics for call in self._calls)))

    def read(self, group: Group) -> Reading:
        """What the device says now. Raises NVMLError when the driver as a whole does not answer."""
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
                if reason in WHOLE_DEVICE or self._is_gone(error):
                    return self.silent(reason)
                if error.value in UNSUPPORTED:
                    self._calls.remove(call)
                    self.withdrawn = True
                else:
                    failed = failed or reason
            else:
                values |= told.values
                processes = told.processes or processes
                self.withdrawn = self.withdrawn or told.assumed_wrongly
        uuid = self.identity.uuid
        return Reading(uuid, values, processes=processes) if values else Reading(uuid, reason=failed)

    def silent(self, reason: Reason.ValueType) -> Reading:
        """Nothing is known of it at this tick; and what comes next is not compared with what was before."""
        if self._gpm is not None:
            self._gpm.forget()
        return Reading(self.identity.uuid, reason=reason)

    def close(self) -> None:
        """Free what the driver keeps for it; before nvmlShutdown."""
        if self._gpm is not None:
            self._gpm.close()

    def _is_gone(self, error: nvml.NVMLError) -> bool:
        """nvml.h: the handle of a partition is invalid once it is destroyed."""
        return bool(self.identity.parent) and error.value == nvml.NVML_ERROR_INVALID_ARGUMENT


def _usable(handle: Handle, calls: Iterable[Call]) -> Iterator[Call]:
    """The calls that the device's driver does not declare unsupported, each for something that none before it gives.

    A device that is lost or slow just now is not asked further: what it cannot say is for its driver to declare.
    """
    given: set[str] = set()
    silent = False
    for call in calls:
        if given.issuperset(call.metrics):
            continue
        code = nvml.NVML_SUCCESS if silent else _code_of(call, handle)
        silent = silent or reason_of(code) in WHOLE_DEVICE
        if code not in UNSUPPORTED:
            given.update(call.metrics)
            yield call


def _code_of(call: Call, handle: Handle) -> int:
    try:
        call.ask(handle)
    except nvml.NVMLError as error:
        return int(error.value)
    return int(nvml.NVML_SUCCESS)


def _group_of(call: Call) -> Group:
    return BY_NAME[call.metrics[0]].group
