"""A made-up /sys with a PCI bus, and programs that see it in the place of the machine's own."""

import os
import shutil
from pathlib import Path


class Bus:
    """What is on the PCI bus, as sysfs shows it (Documentation/ABI/testing/sysfs-bus-pci); changes under programs."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._devices = sysfs / "bus/pci/devices"
        self._devices.mkdir(parents=True)

    @property
    def under(self) -> tuple[str, ...]:
        """The command that runs a program with this /sys, in a mount namespace of its own and as the same process."""
        own_user = () if os.getuid() == 0 else ("--user", "--map-root-user")
        return "unshare", *own_user, "--mount", "sh", "-c", 'mount --bind "$0" /sys && exec "$@"', str(self._sysfs)

    def put(self, address: str, ids: str = "10de:2330", driver: str = "nvidia") -> None:
        """A 3D controller, and the kernel's driver that is bound to it."""
        folder = self._devices / address
        folder.mkdir()
        vendor, device = ids.split(":")
        for name, text in (("vendor", f"0x{vendor}"), ("device", f"0x{device}"), ("class", "0x030200")):
            (folder / name).write_text(f"{text}\n")
        (self._sysfs / "bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(Path("../../drivers") / driver)

    def unbind(self, address: str) -> None:
        (self._devices / address / "driver").unlink()

    def take(self, address: str) -> None:
        shutil.rmtree(self._devices / address)
