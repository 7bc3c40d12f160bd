"""Listens to what NVIDIA's driver tells unasked, in a thread of its own: NVML's event set.

An event set is not safe between threads, so only this one touches it. Events from before the registration are lost to
it; the kernel's log has them.
"""

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pynvml as nvml

from fallow_agent.happening import Happening
from fallow_agent.readers.attribution import Place, device_of
from fallow_agent.readers.nvml_unbinding import Unbinding
from fallow_agent.readers.nvml_values import UNSUPPORTED
from fallow_agent.readers.reader import DeviceIdentity
from fallow_proto.states import EventKind

Handle = Any  # pynvml's c_nvmlDevice_t

WAIT_S = 0.5  # in the driver; close() takes as long
TELL_EVERY_S = 0.25  # a storm is gathered for so long
FIRST_RETRY_S = 1.0  # doubled at each failure
LAST_RETRY_S = 60.0

_LOG = logging.getLogger(__name__)
_NOT_ATTRIBUTED = 0xFFFFFFFF
_XID = nvml.nvmlEventTypeXidCriticalError
_UNKNOWN_XID = 999  # nvml.h: "eventData is set as 999 for unknown Xid error"
_FAULTS: Mapping[int, str] = {
    nvml.nvmlEventTypeDoubleBitEccError: "double-bit ECC error",
    nvml.nvmlEventTypeSingleBitEccErrorStorm: "storm of single-bit ECC errors",
    nvml.nvmlEventTypeDramRetirementEvent: "memory was retired",
    nvml.nvmlEventTypeDramRetirementFailure: "memory could not be retired",
    nvml.nvmlEventTypeNonFatalPoisonError: "poisoned data was met, contained",
    nvml.nvmlEventTypeFatalPoisonError: "poisoned data was met, fatal",
    nvml.nvmlEventTypeGpuUnavailableError: "the device became unavailable",
    nvml.nvmlEventTypeGpuRecoveryAction: "the driver asks for another recovery action",
}
_FOR_GOOD = UNSUPPORTED | {nvml.NVML_ERROR_NO_PERMISSION}
_WANTED = _XID | nvml.nvmlEventMigConfigChange | sum(_FAULTS)


class NvmlEvents:
    """Events of some devices, by uuid, until stop()."""

    def __init__(
        self,
        handles: Mapping[str, Handle],
        instances: Sequence[DeviceIdentity],
        tell: Callable[[Sequence[Happening]], None],
        leave: Callable[[str], None],
    ) -> None:
        """instances: of these boards. tell: called from the listening thread, at most once in TELL_EVERY_S; leave: from
        there as well, with the reason why every handle has to be let go of.
        """
        self._handles = handles
        self._instances = [(instance.parent, instance.place, instance.uuid) for instance in instances]
        self._uuids = {_address(handle): uuid for uuid, handle in handles.items()}
        self._tell = tell
        self._leave = leave
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml-events", daemon=True)
        self._retry_s = FIRST_RETRY_S
        self.partitions_changed = False
        """Whether the driver said so since the start."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """Whether it is over; False: it is stuck in the driver."""
        self._stopping.set()
        self._thread.join(2 * WAIT_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                event_set, unbinding = nvml.nvmlEventSetCreate(), Unbinding()
                try:
                    if not self._register(event_set):
                        return
                    self._listen(event_set, unbinding)
                finally:
                    unbinding.close()
                    nvml.nvmlEventSetFree(event_set)
            except nvml.NVMLError as error:
                # A set that answers UNKNOWN (999) once answers nothing else any more, so each error asks for another.
                _LOG.warning("nvidia: events are listened to again in %g s: %s", self._retry_s, error)
                self._stopping.wait(self._retry_s)
                self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)

    def _register(self, event_set: Any) -> bool:
        """Each device for what it supports; whether there is any. One that fails is for its readings to tell; raises
        NVMLError where nothing can be heard for that reason."""
        registered = False
        failure: nvml.NVMLError | None = None
        for handle in self._handles.values():
            try:
                supported = nvml.nvmlDeviceGetSupportedEventTypes(handle) & _WANTED
                if supported:
                    nvml.nvmlDeviceRegisterEvents(handle, supported, event_set)
                    registered = True
            except nvml.NVMLError as error:
                _LOG.info("nvidia: no events of a device: %s", error)
                failure = failure if error.value in _FOR_GOOD else error
        if failure is not None and not registered:
            raise failure
        return registered

    def _listen(self, event_set: Any, unbinding: Unbinding) -> None:
        gathered: dict[tuple[str, int | None], Happening] = {}
        told_at = asked_at = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if gathered and now - told_at >= TELL_EVERY_S:
                self._tell(tuple(gathered.values()))
                gathered.clear()
                told_at = now
            if now - asked_at >= WAIT_S:
                asked_at = now
                if unbinding.begun():
                    self._stopping.set()
                    self._leave("NVIDIA's driver lets go of a device; all handles were dropped, so that it can")
            wait_s = TELL_EVERY_S - (now - told_at) if gathered else WAIT_S
            try:
                event = nvml.nvmlEventSetWait_v2(event_set, max(1, round(wait_s * 1_000)))
            except nvml.NVMLError_Timeout:
                continue
            self._retry_s = FIRST_RETRY_S
            if event.eventType == nvml.nvmlEventMigConfigChange:
                self.partitions_changed = True
            elif happening := self._happening(event):
                same = gathered.get((happening.device, happening.code), happening._replace(times=0))
                gathered[happening.device, happening.code] = happening._replace(times=same.times + 1)

    def _happening(self, event: Any) -> Happening | None:
        board = self._uuids.get(_address(event.device), "")
        place = Place(_number(event.gpuInstanceId), _number(event.computeInstanceId))
        # A place may be another instance's by now.
        uuid = board if self.partitions_changed else device_of(board, place, self._instances)
        where = place.words
        if event.eventType == _XID:
            number = "unknown Xid" if event.eventData == _UNKNOWN_XID else f"Xid {event.eventData}"
            return Happening(EventKind.XID, uuid, number + where, int(event.eventData), "nvml")
        if fault := _FAULTS.get(event.eventType):
            return Happening(EventKind.DEVICE_FAULT, uuid, fault + where, int(event.eventType), "nvml")
        return None


def _number(instance: int) -> int | None:
    return None if instance == _NOT_ATTRIBUTED else int(instance)


def _address(handle: Handle) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
