"""Reads Huawei's Ascend chips through DCMI, the library of its driver.

DCMI has no call that ends its use: what it holds open goes with the process, which is the reader's own. Reads whole
chips; partitions of one (vNPU) are not devices yet, and neither is what only the second generation of DCMI knows.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from fallow_agent.happening import Happening
from fallow_agent.readers.ascend_chip import GIVEN, AscendChip, names_of
from fallow_agent.readers.dcmi_faults import handling_of
from fallow_agent.readers.dcmi_library import FOLDERS, LIBRARY, NOT_SUPPORTED, Chip, Dcmi, DcmiError
from fallow_agent.readers.pci_bus import PciFunction, processors_of
from fallow_agent.readers.reader import DeviceIdentity, ReaderAbsent, ReaderError, Reading
from fallow_proto.metrics import METRICS, Group
from fallow_proto.states import EventKind

_LOG = logging.getLogger(__name__)
_PCI_VENDOR = 0x19E5
_NOT_PERMITTED = -8002


class AscendReader:
    """Reader of Ascend chips; `sysfs` is where the PCI bus is looked at."""

    name = "ascend"

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs
        self._dcmi: Dcmi | None = None
        self._driver_version = ""
        self._found: list[Chip] = []
        self._chips: list[AscendChip] = []
        self._unnamed: list[Chip] = []
        self._tell: Callable[[Sequence[Happening]], None] | None = None

    def open(self) -> Sequence[DeviceIdentity]:
        self.close()
        try:
            dcmi = Dcmi()
        except OSError as error:
            raise self._not_loaded(error) from error
        try:
            dcmi.init()
            self._found = list(dcmi.chips())
        except DcmiError as error:
            raise self._explained(error) from error
        self._driver_version = _driver_version(dcmi)
        failures = [failure for at in self._found if (failure := self._open_chip(dcmi, at))]
        if not self._chips:
            self.close()
            raise self._nothing_seen(failures)
        self._dcmi = dcmi
        return [chip.identity for chip in self._chips]

    def columns(self, group: Group) -> Sequence[str]:
        return [metric.name for metric in METRICS if metric.group is group and metric.name in GIVEN]

    def read(self, group: Group) -> Sequence[Reading]:
        readings = [chip.read(group) for chip in self._chips]
        if self._tell is not None and (begun := [_fault(chip, code) for chip in self._chips for code in chip.begun()]):
            self._tell(begun)
        return readings

    def listen(self, tell: Callable[[Sequence[Happening]], None], _leave: Callable[[str], None]) -> None:
        """A fault is told of at the read that first finds it, and again only after it was gone."""
        self._tell = tell

    def changed(self) -> bool:
        if self._dcmi is None:
            return True
        try:
            return (
                _driver_version(self._dcmi) != self._driver_version
                or list(self._dcmi.chips()) != self._found
                or any(chip.changed() for chip in self._chips)
                or any(_can_be_named(self._dcmi, at) for at in self._unnamed)
            )
        except DcmiError:
            return True  # open() says what is wrong

    def close(self) -> None:
        self._dcmi = None
        self._tell = None
        self._chips = []
        self._unnamed = []

    def _open_chip(self, dcmi: Dcmi, at: Chip) -> DcmiError | None:
        """One bad chip does not hide the others; what it answered, if it could not be named."""
        try:
            self._chips.append(AscendChip(dcmi, at, self._driver_version))
        except DcmiError as error:
            _LOG.warning("ascend: chip %d of card %d cannot be named and is left out: %s", at.chip, at.card, error)
            self._unnamed.append(at)
            return error
        return None

    def _on_bus(self) -> list[PciFunction]:
        return processors_of(_PCI_VENDOR, self._sysfs)

    def _not_loaded(self, error: OSError) -> ReaderError:
        on_bus = self._on_bus()
        if not on_bus:
            return ReaderAbsent(f"no {LIBRARY}, and no Ascend chip on the PCI bus")
        return ReaderError(
            f"{LIBRARY} cannot be loaded ({error}), but there are {_listed(on_bus)}; install Huawei's driver with "
            f"--install-for-all, or put the library's folder ({' or '.join(FOLDERS)}) into LD_LIBRARY_PATH of the agent"
        )

    def _explained(self, error: DcmiError) -> ReaderError:
        on_bus = self._on_bus()
        match error.code:
            case _ if not on_bus:
                return ReaderAbsent(f"DCMI does not start ({error}), and no Ascend chip is on the PCI bus")
            case code if code == NOT_SUPPORTED:
                return ReaderError(
                    f"{error}, as the driver of Ascend 950 does, whose second generation of DCMI is not read; "
                    f"there are {_listed(on_bus)}"
                )
            case code if code == _NOT_PERMITTED:
                return ReaderError(
                    f"{error}: this user may not use the driver; the agent's user needs to be in the group HwHiAiUser, "
                    "and its unit to allow /dev/davinci0 and on, /dev/davinci_manager, /dev/devmm_svm and "
                    "/dev/hisi_hdc (DeviceAllow=)"
                )
            case _:
                return ReaderError(
                    f"DCMI does not start: {error}, but there are {_listed(on_bus)}; npu-smi info should say the same"
                )

    def _nothing_seen(self, errors: Sequence[DcmiError]) -> ReaderError:
        on_bus = self._on_bus()
        if errors:
            return ReaderError(
                f"none of {len(self._found)} Ascend chips can be named; the first says: {errors[0]}; see npu-smi info"
            )
        if on_bus:
            return ReaderError(
                f"DCMI sees no chip, but there are {_listed(on_bus)}; check the device files /dev/davinci0 and on, and "
                "npu-smi info"
            )
        return ReaderAbsent("DCMI sees no chip, and none is on the PCI bus")


def _driver_version(dcmi: Dcmi) -> str:
    """Empty: a library that does not tell."""
    try:
        return dcmi.driver_version()
    except DcmiError:
        return ""


def _fault(chip: AscendChip, code: int) -> Happening:
    handling = handling_of(code)
    what = f"does about it: {handling}" if handling else "does not know it"
    message = f"fault {code:08X}; Huawei's device plugin {what}"
    return Happening(EventKind.DEVICE_FAULT, chip.identity.uuid, message, code, "dcmi")


def _can_be_named(dcmi: Dcmi, at: Chip) -> bool:
    try:
        names_of(dcmi, at)
    except DcmiError:
        return False
    return True


def _listed(functions: Sequence[PciFunction]) -> str:
    places = ", ".join(f"{address} (kernel driver: {driver or 'none'})" for address, driver in functions)
    return f"{len(functions)} Ascend chips on the PCI bus: {places}"
