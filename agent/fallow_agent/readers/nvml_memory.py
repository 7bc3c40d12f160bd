"""What NVIDIA's driver says of a board's memories beside field values: flags that mean a replacement.

Every call may raise pynvml.NVMLError; nvml_device.py judges its code.
"""

import ctypes

import pynvml as nvml

from fallow_agent.readers.nvml_fields import Call, Handle, Told, check, function
from fallow_agent.readers.nvml_values import known

_VERSION = nvml.nvmlUnrepairableMemory_v1
_UNTOLD = 0xFFFFFFFF


def flag_in(first: int, second: int) -> int:
    """The flag in what nvmlDeviceGetUnrepairableMemoryFlag_v1 wrote over (_VERSION, _UNTOLD).

    nvml.h has a structure of the flag alone, the binding one of a version and the flag; by the binding's, a library
    that keeps to nvml.h would say 0, whatever the memory is like.
    """
    return second if first == _VERSION else first


def _unrepairable(handle: Handle) -> Told:
    words = (ctypes.c_uint * 2)(_VERSION, _UNTOLD)
    check(function("nvmlDeviceGetUnrepairableMemoryFlag_v1")(handle, words))
    return Told(known("memory_unrepairable", flag_in(*words)))


def _sram(handle: Handle) -> Told:
    """Needs root (nvml.h)."""
    status = nvml.c_nvmlEccSramErrorStatus_v1_t()
    status.bThresholdExceeded = _UNTOLD
    nvml.nvmlDeviceGetSramEccErrorStatus(handle, ctypes.byref(status))
    return Told(known("sram_threshold_exceeded", status.bThresholdExceeded))


MEMORY_FLAGS = (Call(("memory_unrepairable",), _unrepairable), Call(("sram_threshold_exceeded",), _sram))
