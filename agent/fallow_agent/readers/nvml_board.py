"""One NVIDIA board: who it is, in which modes, and what partitions it has."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import pynvml as nvml

from fallow_agent.readers.attribution import Place
from fallow_agent.readers.nvlink import Reach, address_of, reach_of
from fallow_agent.readers.nvml_calls import CALLS, MEMORY, ProcessLists
from fallow_agent.readers.nvml_device import NvmlDevice
from fallow_agent.readers.nvml_fields import Call, Handle, fields_of, text
from fallow_agent.readers.nvml_gpm import GpmActivity
from fallow_agent.readers.nvml_instances import Instance, Instances, instances_of
from fallow_agent.readers.nvml_links import LinkErrors, LinkStates, links_of
from fallow_agent.readers.nvml_values import rows_of
from fallow_agent.readers.reader import DeviceIdentity
from fallow_proto.metrics import Group
from fallow_proto.states import Condition

_LOG = logging.getLogger(__name__)
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

    @property
    def is_partitioned(self) -> bool:
        return self.mig is not None and self.mig[0] == nvml.NVML_DEVICE_MIG_ENABLE

    def differ(self, later: "Modes") -> bool:
        """Whether `later` tells something else; what it does not tell is no difference."""
        return any(new is not None and new != old for old, new in zip(self, later, strict=True))


class NvmlBoard:
    """A board and its partitions."""

    def __init__(self, index: int, driver_version: str) -> None:
        """Name the board and find out what it can say. Raises NVMLError when it cannot be named."""
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, model = names_of(handle)
        self._modes = _modes_of(handle)
        identity = DeviceIdentity(
            uuid=uuid,
            vendor="nvidia",
            model=model,
            index=index,
            minor=_optional(nvml.nvmlDeviceGetMinorNumber, handle),
            pci_bus_id=_pci_bus_id(handle),
            serial=_optional(partial(text, nvml.nvmlDeviceGetSerial), handle) or "",
            driver_version=driver_version,
            conditions=self._modes.conditions,
            mode=self._modes.current,
        )
        # What GPM says of a whole board in MIG mode is written nowhere, and partitions would inherit a false zero.
        gpm = None if self._modes.is_partitioned else GpmActivity(handle)
        self.device = NvmlDevice(handle, identity, _calls(handle), gpm)
        self._instances = self._list_instances()
        for problem in self._instances.problems:
            _LOG.warning("nvidia: a partition of device %d cannot be named and is left out: %s", index, problem)
        self.partitions = [self._partition(instance) for instance in self._instances.named]

    @property
    def devices(self) -> Sequence[NvmlDevice]:
        return self.device, *self.partitions

    def reach(self) -> Reach:
        """Where its links lead. Some calls a link."""
        return reach_of(self.device.handle, self.device.identity.pci_bus_id)

    def changed(self) -> bool:
        """Whether identities are out of date. Three calls, and in MIG mode one, one a place and five a partition."""
        return (
            any(device.withdrawn for device in self.devices)
            or self._modes.differ(_modes_of(self.device.handle))
            or self._instances != self._list_instances()
        )

    def close(self) -> None:
        """Before nvmlShutdown."""
        for device in self.devices:
            device.close()

    def _list_instances(self) -> Instances:
        return instances_of(self.device.handle) if self._modes.is_partitioned else Instances()

    def _partition(self, instance: Instance) -> NvmlDevice:
        """Of an instance only what is its own; power and the like is the board's, and would be counted again.

        Address, minor and serial are the board's, so that whoever names a device by these means the whole.
        """
        board = self.device.identity
        identity = replace(
            board, uuid=instance.uuid, parent=board.uuid, partition_profile=instance.profile,
            minor=None, pci_bus_id="", serial="", place=Place(instance.gpu_instance, instance.compute_instance),
        )
        calls = (MEMORY, Call(("processes",), ProcessLists().ask))
        gpm = GpmActivity(self.device.handle, instance.gpu_instance)
        return NvmlDevice(instance.handle, identity, calls, gpm)


def names_of(handle: Handle) -> tuple[str, str]:
    """Its uuid and its model. Raises NVMLError."""
    return text(nvml.nvmlDeviceGetUUID, handle), text(nvml.nvmlDeviceGetName, handle)


def _calls(handle: Handle) -> Iterator[Call]:
    """Whatever a board may be asked."""
    yield from [fields_of(handle, rows_of(group)) for group in Group]
    yield from _of_links(handle)
    yield from CALLS
    yield Call(("processes",), ProcessLists().ask)


def _of_links(handle: Handle) -> Iterator[Call]:
    links = links_of(handle)
    if links:
        yield Call(("links", "links_inactive"), LinkStates(links).ask)
        errors = LinkErrors(handle, links)
        yield Call(errors.metrics, errors.ask)


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
