"""How the fabric of NVIDIA's links does: whether the device has joined it, and what troubles it."""

import ctypes
from collections.abc import Mapping
from typing import Any, NamedTuple

import pynvml as nvml

from fallow_agent.readers.nvml_fields import Call, Handle, Told
from fallow_agent.readers.nvml_values import known

_TRUE_OR_FALSE = {1: 1.0, 2: 0.0}


class _Part(NamedTuple):
    """Of the health mask, by its name in nvml.h: NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_…, …_WIDTH_…."""

    name: str
    meanings: Mapping[int, float] = _TRUE_OR_FALSE  # what is not listed goes as it is; 0 says "not supported"

    def of(self, mask: int) -> int:
        shift: int = getattr(nvml, f"NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_{self.name}")
        width: int = getattr(nvml, f"NVML_GPU_FABRIC_HEALTH_MASK_WIDTH_{self.name}")
        return mask >> shift & width


_PARTS: Mapping[str, _Part] = {
    "fabric_bandwidth_degraded": _Part("DEGRADED_BW"),
    "fabric_route_unhealthy": _Part("ROUTE_UNHEALTHY"),
    "fabric_route_recovering": _Part("ROUTE_RECOVERY"),
    "fabric_access_recovering": _Part("ACCESS_TIMEOUT_RECOVERY"),
    "fabric_misconfigured": _Part("INCORRECT_CONFIGURATION", {1: 0.0}),
}
_BY_MASK = ("fabric_state", "fabric_health_mask", *_PARTS)


def by_mask(mask: int) -> dict[str, float]:
    """Metrics that the health mask tells; none out of one that cannot be."""
    values = known("fabric_health_mask", mask)
    if not values:
        return {}
    for metric, part in _PARTS.items():
        if said := part.of(mask):
            values |= known(metric, part.meanings.get(said, float(said)))
    return values


def _with_summary(handle: Handle) -> Told:
    info = _asked(handle, nvml.c_nvmlGpuFabricInfo_v3_t())
    return Told(_told(info) | known("fabric_health", info.healthSummary))


def _without_summary(handle: Handle) -> Told:
    return Told(_told(_asked(handle, nvml.c_nvmlGpuFabricInfo_v2_t())))


def _told(info: Any) -> dict[str, float]:
    return known("fabric_state", info.state) | by_mask(info.healthMask)


def _asked(handle: Handle, info: Any) -> Any:
    nvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return info


FABRIC = (Call((*_BY_MASK, "fabric_health"), _with_summary), Call(_BY_MASK, _without_summary))
"""The newer structure, and the one of drivers that do not know it."""
