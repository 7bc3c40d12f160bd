"""What is on the PCI bus, by sysfs: devices are there whether or not a vendor's library shows them.

Source of the files: Documentation/ABI/testing/sysfs-bus-pci. A function that cannot be read is left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VFIO = "vfio-pci"
"""The driver of what belongs to a virtual machine."""

_DISPLAY, _PROCESSOR, _COPROCESSOR = 0x03, 0x12, 0x0B
_3D_CONTROLLER = 0x0302

VENDORS = {
    0x10DE: "nvidia",
    0x1002: "amd",
    0x8086: "intel",
    0x1DA3: "intel",  # Habana Labs
    0x19E5: "ascend",
    0xCABC: "cambricon",
    0x9999: "metax",
    0x1E3E: "iluvatar",
    0x1D94: "hygon",
    0x1ED5: "mthreads",
    0x1DED: "thead",
    0x1E36: "enflame",
    0x2057: "kunlunxin",
    0x1EDB: "vastai",
    0x1AE0: "google",
    0x1D0F: "aws",
}
"""Vendors of accelerators as readers name them, by PCI id (the PCI gates of gpustack-runtime, tpu-info and ZStack)."""

_COPROCESSORS = frozenset({"cambricon", "metax", "iluvatar", "hygon", "mthreads", "enflame", "kunlunxin", "vastai"})
"""Those whose co-processors are accelerators: Intel's are for encryption (QAT)."""


class PciFunction(NamedTuple):
    address: str  # 0000:17:00.0
    driver: str  # of the kernel; empty: none is bound


class Accelerator(NamedTuple):
    function: PciFunction
    vendor_id: int
    device_id: int


def displays_of(vendor_id: int, sysfs: Path) -> list[PciFunction]:
    """Display and 3D controllers of a vendor, by address, except those that belong to a virtual machine."""
    return _of(vendor_id, _DISPLAY, sysfs)


def processors_of(vendor_id: int, sysfs: Path) -> list[PciFunction]:
    """Processing accelerators of a vendor, by address, except those that belong to a virtual machine."""
    return _of(vendor_id, _PROCESSOR, sysfs)


def accelerators(sysfs: Path) -> list[Accelerator]:
    """Whatever computes, of any vendor, by address, also what belongs to a virtual machine.

    Left out are virtual functions, which are a part of the device that is there beside them, and displays that are
    none: those of management controllers (ASPEED, Matrox) and hypervisors, and graphics inside Intel's processors.
    """
    return [
        Accelerator(function, vendor_id, device_id)
        for function, vendor_id, device_id, pci_class, virtual in _functions(sysfs)
        if not virtual and _computes(vendor_id, pci_class, function.address)
    ]


def _of(vendor_id: int, base_class: int, sysfs: Path) -> list[PciFunction]:
    return [
        function
        for function, vendor, _, pci_class, _ in _functions(sysfs)
        if vendor == vendor_id and pci_class >> 8 == base_class and function.driver != VFIO
    ]


def _computes(vendor_id: int, pci_class: int, address: str) -> bool:
    if pci_class >> 8 == _PROCESSOR or pci_class == _3D_CONTROLLER:
        return True
    vendor = VENDORS.get(vendor_id, "")
    if pci_class >> 8 == _COPROCESSOR:
        return vendor in _COPROCESSORS
    integrated = vendor == "intel" and address.split(":")[1:2] == ["00"]
    return pci_class >> 8 == _DISPLAY and bool(vendor) and not integrated


def _functions(sysfs: Path) -> Iterator[tuple[PciFunction, int, int, int, bool]]:
    """Each with its vendor's id, its own, its class without the interface, and whether it is a virtual function."""
    for folder in sorted((sysfs / "bus/pci/devices").glob("*")):
        try:
            vendor_id, device_id, pci_class = (
                int((folder / name).read_text(), 16) for name in ("vendor", "device", "class")
            )
        except (OSError, ValueError):
            continue
        link = folder / "driver"
        driver = link.resolve().name if link.is_symlink() else ""
        yield PciFunction(folder.name, driver), vendor_id, device_id, pci_class >> 8, (folder / "physfn").is_symlink()
