"""Names under which device plugins offer accelerators to Kubernetes, and whose devices they are.

From the plugins' own repositories and, where a vendor publishes none, from HAMi's and GPUStack's tables. Whole devices
only: a share of a device (nvidia.com/gpu.shared, metax-tech.com/sgpu, enflame.com/drs-gcu …) is not what Fallow offers.
"""

from typing import NamedTuple


class Kind(NamedTuple):
    """What one unit of a resource is; profile: of a partition, empty for a whole device."""

    vendor: str
    profile: str = ""


_WHOLE = {
    "nvidia.com/gpu": "nvidia",
    "amd.com/gpu": "amd",
    "habana.ai/gaudi": "intel",
    "huawei.com/Ascend910": "ascend",
    "huawei.com/Ascend310": "ascend",
    "huawei.com/Ascend310P": "ascend",
    "metax-tech.com/gpu": "metax",
    "birentech.com/gpu": "biren",
    "enflame.com/gcu": "enflame",
    "iluvatar.com/gpu": "iluvatar",
    "iluvatar.ai/gpu": "iluvatar",
    "kunlunxin.com/xpu": "kunlunxin",
    "baidu.com/xpu": "kunlunxin",
    "vastaitech.com/va": "vastai",
    "mthreads.com/gpu": "mthreads",
    "cambricon.com/mlu": "cambricon",
    "hygon.com/dcu": "hygon",
}
_MIG = "nvidia.com/mig-"


def kind_of(resource: str) -> Kind | None:
    """What a resource is; None: no accelerator that Fallow knows."""
    if resource.startswith(_MIG):
        return Kind("nvidia", resource.removeprefix(_MIG))
    vendor = _WHOLE.get(resource)
    return None if vendor is None else Kind(vendor)
