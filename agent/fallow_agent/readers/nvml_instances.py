"""MIG: the instances that a board is cut into.

NVML lists compute instances; each lies in a GPU instance, whose memory it may share with others. Another instance may
have the handle of one before it (nvml.h: "Handles may be reused and their properties can change in the process"), and
even its name: older drivers make it of the board's uuid and both numbers (NVIDIA/dcgm-exporter issue 105).
"""

import ctypes
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

import pynvml as nvml

from fallow_agent.readers.nvml_fields import Handle, text

_MIB, _GIB = 2**20, 2**30
_EIGHTHS = 8  # into so many parts a board's memory is cut


@dataclass(frozen=True, slots=True)
class Instance:
    handle: Handle = field(compare=False)
    address: int  # of what the handle points to
    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str  # as NVIDIA spells it, e.g. 1g.10gb, 1c.3g.40gb, 1g.10gb+me


class Instances(NamedTuple):
    """Equal when nothing has changed."""

    named: tuple[Instance, ...] = ()
    problems: tuple[str, ...] = ()  # of those that are there and cannot be named


def instances_of(board: Handle) -> Instances:
    """In order of their index. One that cannot be named does not hide the others."""
    named: list[Instance] = []
    problems: list[str] = []
    try:
        places = nvml.nvmlDeviceGetMaxMigDeviceCount(board)
    except nvml.NVMLError as error:
        return Instances(problems=(str(error),))
    for index in range(places):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(board, index)
            named.append(_named(board, handle))
        except nvml.NVMLError_NotFound:
            continue
        except nvml.NVMLError as error:
            problems.append(f"at index {index}: {error}")
    return Instances(tuple(named), tuple(problems))


def profile_in(name: str) -> str:
    """The profile in a device's name, "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; empty: there is none."""
    return name.partition(" MIG ")[2].strip()


def profile_of(gpu_slices: int, compute_slices: int, memory_bytes: int, board_bytes: int) -> str:
    """The profile by what the instance has; empty: that cannot be.

    Computed as NVIDIA/go-nvlib does: memory in eighths of the board's, which is rounded up to whole GiB.
    """
    if not (0 < compute_slices <= gpu_slices <= _EIGHTHS and 0 < memory_bytes <= board_bytes):
        return ""
    eighths = ceil(memory_bytes / board_bytes * _EIGHTHS)
    gigabytes = round(eighths * ceil(board_bytes / _GIB) / _EIGHTHS)
    part = "" if compute_slices == gpu_slices else f"{compute_slices}c."
    return f"{part}{gpu_slices}g.{gigabytes}gb"


def _named(board: Handle, handle: Handle) -> Instance:
    """Raises NVMLError, also for one without a profile: it would be counted among whole boards."""
    profile = profile_in(text(nvml.nvmlDeviceGetName, handle)) or _by_attributes(board, handle)
    if not profile:
        raise nvml.NVMLError(nvml.NVML_ERROR_UNKNOWN)
    return Instance(
        handle=handle,
        address=ctypes.cast(handle, ctypes.c_void_p).value or 0,
        uuid=text(nvml.nvmlDeviceGetUUID, handle),
        gpu_instance=nvml.nvmlDeviceGetGpuInstanceId(handle),
        compute_instance=nvml.nvmlDeviceGetComputeInstanceId(handle),
        profile=profile,
    )


def _by_attributes(board: Handle, handle: Handle) -> str:
    has: Any = nvml.nvmlDeviceGetAttributes_v2(handle)
    total = nvml.nvmlDeviceGetMemoryInfo(board, version=nvml.nvmlMemory_v2).total
    return profile_of(has.gpuInstanceSliceCount, has.computeInstanceSliceCount, has.memorySizeMB * _MIB, total)
