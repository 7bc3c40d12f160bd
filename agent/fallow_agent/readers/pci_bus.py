"""What is on the PCI bus, by sysfs: devices are there whether or not a vendor's library shows them."""

from pathlib import Path
from typing import NamedTuple


class PciFunction(NamedTuple):
    address: str  # 0000:17:00.0
    driver: str  # of the kernel; empty: none is bound


def displays_of(vendor_id: int, sysfs: Path) -> list[PciFunction]:
    """Display and 3D controllers (class 0x03) of a vendor, by address, except those that belong to a virtual machine.

    Source: Documentation/ABI/testing/sysfs-bus-pci. A function that cannot be read is left out.
    """
    found = []
    for folder in sorted((sysfs / "bus/pci/devices").glob("*")):
        try:
            vendor = int((folder / "vendor").read_text(), 16)
            device_class = int((folder / "class").read_text(), 16) >> 16
        except (OSError, ValueError):
            continue
        link = folder / "driver"
        driver = link.resolve().name if link.is_symlink() else ""
        if vendor == vendor_id and device_class == 0x03 and driver != "vfio-pci":
            found.append(PciFunction(folder.name, driver))
    return found
