"""Reads NVIDIA devices through NVML, by NVIDIA's own binding nvidia-ml-py.

NVML keeps the device files open between nvmlInit and nvmlShutdown, and a driver cannot be unloaded or a board reset
while they are: close() lets go of them. A board comes before its partitions (MIG), which are devices as well.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pynvml as nvml

from fallow_agent.happening import Happening
from fallow_agent.readers.nvlink import domains
from fallow_agent.readers.nvml_board import NvmlBoard, names_of
from fallow_agent.readers.nvml_calls import GIVEN
from fallow_agent.readers.nvml_device import NvmlDevice
from fallow_agent.readers.nvml_events import NvmlEvents
from fallow_agent.readers.nvml_values import reason_of
from fallow_agent.readers.pci_bus import PciFunction, displays_of
from fallow_agent.readers.reader import DeviceIdentity, ReaderAbsent, ReaderError, Reading
from fallow_proto.metrics import METRICS, Group
from fallow_proto.v1.telemetry_pb2 import Reason

_LOG = logging.getLogger(__name__)
_PCI_VENDOR = 0x10DE
# Neither fails without devices nor attaches all at once, which without persistence mode takes seconds each; a device
# is attached when its handle is asked for, so that a bad one fails alone.
_INIT_FLAGS = nvml.NVML_INIT_FLAG_NO_GPUS | nvml.NVML_INIT_FLAG_NO_ATTACH


class NvidiaReader:
    """Reader of NVIDIA boards; `sysfs` is where the PCI bus is looked at."""

    name = "nvidia"

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs
        self._initialised = False
        self._driver_version = ""
        self._count = 0
        self._boards: list[NvmlBoard] = []
        self._unnamed: list[int] = []  # indices of devices that are there and could not be named
        self._events: NvmlEvents | None = None

    def open(self) -> Sequence[DeviceIdentity]:
        self.close()
        try:
            nvml.nvmlInitWithFlags(_INIT_FLAGS)
            self._initialised = True
            self._driver_version = nvml.nvmlSystemGetDriverVersion()
            self._count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            self.close()
            raise self._explained(error) from error
        codes = [self._open_board(index) for index in range(self._count)]
        if not self._boards:
            self.close()
            raise self._nothing_seen([code for code in codes if code is not None])
        linked = domains({board.device.identity.uuid: board.reach() for board in self._boards})
        identities = [device.identity for board in self._boards for device in board.devices]
        return [replace(identity, link_domain=linked.get(identity.uuid, "")) for identity in identities]

    def columns(self, group: Group) -> Sequence[str]:
        return [metric.name for metric in METRICS if metric.group is group and metric.name in GIVEN]

    def read(self, group: Group) -> Sequence[Reading]:
        try:
            return [self._read(device, group) for board in self._boards for device in board.devices]
        except nvml.NVMLError as error:
            raise self._explained(error) from error

    def listen(self, tell: Callable[[Sequence[Happening]], None], leave: Callable[[str], None]) -> None:
        handles = {board.device.identity.uuid: board.device.handle for board in self._boards}
        instances = [device.identity for board in self._boards for device in board.partitions]
        self._events = NvmlEvents(handles, instances, tell, leave)
        self._events.start()

    def changed(self) -> bool:
        if self._repartitioned:
            return True
        try:
            return (
                nvml.nvmlSystemGetDriverVersion() != self._driver_version
                or nvml.nvmlDeviceGetCount() != self._count
                or any(board.changed() for board in self._boards)
                or any(_can_be_named(index) for index in self._unnamed)
            )
        except nvml.NVMLError:
            return True  # open() says what is wrong

    def close(self) -> None:
        boards, self._boards = self._boards, []
        self._unnamed = []
        events, self._events = self._events, None
        if events is not None and not events.stop():
            return  # it hangs in the driver: only the end of this process lets go
        for board in boards:
            board.close()
        if self._initialised:
            self._initialised = False
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError as error:
                _LOG.warning("nvidia: nvmlShutdown: %s", error)

    @property
    def _repartitioned(self) -> bool:
        """Whether the driver said so since open()."""
        return self._events is not None and self._events.partitions_changed

    def _read(self, device: NvmlDevice, group: Group) -> Reading:
        """The handle of a partition may be another's by now, and what it says must not go by the old name."""
        if device.identity.parent and self._repartitioned:
            return device.silent(Reason.REASON_FAILED)
        return device.read(group)

    def _open_board(self, index: int) -> nvml.NVMLError | None:
        """One bad device does not hide the others; what it answered, if it could not be named."""
        try:
            self._boards.append(NvmlBoard(index, self._driver_version))
        except nvml.NVMLError as error:
            _LOG.warning("nvidia: device %d of %d cannot be named and is left out: %s", index, self._count, error)
            self._unnamed.append(index)
            return error
        return None

    def _explained(self, error: nvml.NVMLError) -> ReaderError:
        on_bus = displays_of(_PCI_VENDOR, self._sysfs)
        match error.value:
            case nvml.NVML_ERROR_LIBRARY_NOT_FOUND if not on_bus:
                return ReaderAbsent("no libnvidia-ml.so.1, and no NVIDIA device on the PCI bus")
            case nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return ReaderError(
                    f"libnvidia-ml.so.1 cannot be loaded, but there are {_listed(on_bus)}; install the driver's "
                    "library for this machine, or put its folder into LD_LIBRARY_PATH of the agent"
                )
            case nvml.NVML_ERROR_DRIVER_NOT_LOADED if not on_bus:
                return ReaderAbsent("NVIDIA's driver is not loaded, and no NVIDIA device is on the PCI bus")
            case nvml.NVML_ERROR_DRIVER_NOT_LOADED | nvml.NVML_ERROR_UNINITIALIZED:
                return ReaderError(
                    f"NVIDIA's driver is not loaded, but there are {_listed(on_bus)}; load it (modprobe nvidia), and "
                    "see the kernel log (dmesg | grep NVRM) if it refuses"
                )
            case nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
                return ReaderError(
                    f"libnvidia-ml.so.1 and the loaded driver ({self._loaded_driver()}) are of different versions, as "
                    "after an upgrade; reload the driver (stop what uses it, rmmod and modprobe nvidia) or reboot"
                )
            case nvml.NVML_ERROR_NO_PERMISSION:
                return ReaderError(
                    "NVML may not open the driver; the agent's user needs to read and write /dev/nvidiactl and "
                    "/dev/nvidia0 and on, and its unit to allow them (DeviceAllow=)",
                    Reason.REASON_NOT_PERMITTED,
                )
            case code:
                message = f"NVML does not start: {error} (code {code}); nvidia-smi should say the same"
                return ReaderError(message, reason_of(code))

    def _nothing_seen(self, errors: Sequence[nvml.NVMLError]) -> ReaderError:
        on_bus = displays_of(_PCI_VENDOR, self._sysfs)
        if errors:
            return ReaderError(
                f"none of {self._count} NVIDIA devices can be named; the first says: {errors[0]}; "
                "see nvidia-smi and the kernel log (dmesg | grep NVRM)",
                reason_of(errors[0].value),
            )
        if on_bus:
            return ReaderError(
                f"NVML sees no device, but there are {_listed(on_bus)}; check the device files /dev/nvidia0 and on, "
                "and that the unit allows them (DeviceAllow=char-nvidia-frontend and char-nvidia)",
                Reason.REASON_FAILED,
            )
        return ReaderAbsent("NVML sees no device, and none is on the PCI bus")

    def _loaded_driver(self) -> str:
        try:
            return (self._sysfs / "module/nvidia/version").read_text().strip()
        except OSError:
            return "version not known"


def _listed(functions: Sequence[PciFunction]) -> str:
    places = ", ".join(f"{address} (kernel driver: {driver or 'none'})" for address, driver in functions)
    return f"{len(functions)} NVIDIA devices on the PCI bus: {places}"


def _can_be_named(index: int) -> bool:
    try:
        names_of(nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError:
        return False
    return True
