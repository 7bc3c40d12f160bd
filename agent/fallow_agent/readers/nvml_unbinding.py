"""Whether NVIDIA's kernel driver is about to let go of a device: NVML's system events.

The kernel waits for every handle of a device before it unbinds it (to pass it through, to unload, to reset), so ours
have to go at once. A device that is bound later is found by the number of devices.
"""

import logging
from typing import Any

import pynvml as nvml

_LOG = logging.getLogger(__name__)
_MOST = 256  # events told at one time; where a node has more devices, the binding fails with an IndexError


class Unbinding:
    """Used in one thread. A driver or library without such events tells nothing."""

    def __init__(self) -> None:
        self._events = (nvml.c_nvmlSystemEventData_v1_t * _MOST)()
        self._set: Any = None
        try:
            self._set = nvml.nvmlSystemEventSetCreate(nvml.nvmlSystemEventSetCreateRequest_v1)
            nvml.nvmlSystemRegisterEvents(
                nvml.nvmlSystemRegisterEventRequest_v1, nvml.nvmlSystemEventTypeGpuDriverUnbind, self._set
            )
        except nvml.NVMLError as error:
            _LOG.info("nvidia: it is not told when a device is unbound: %s", error)
            self.close()

    def begun(self) -> bool:
        """Whether one is being unbound. One call, which does not wait."""
        if self._set is None:
            return False
        try:
            told = nvml.nvmlSystemEventSetWait(
                nvml.nvmlSystemEventSetWaitRequest_v1, self._set, 0, self._events, _MOST
            )
        except nvml.NVMLError as error:
            _LOG.warning("nvidia: it is not told any more when a device is unbound: %s", error)
            self.close()
            return False
        return any(event["eventType"] == nvml.nvmlSystemEventTypeGpuDriverUnbind for event in told or ())

    def close(self) -> None:
        taken, self._set = self._set, None
        if taken is not None:
            try:
                nvml.nvmlSystemEventSetFree(nvml.nvmlSystemEventSetFreeRequest_v1, taken)
            except nvml.NVMLError as error:
                _LOG.info("nvidia: nvmlSystemEventSetFree: %s", error)
