"""Which device is, or was, at an address of the PCI bus, or at a place on a board in MIG mode."""

from collections.abc import Sequence

from fallow_agent.readers.attribution import Place, device_of
from fallow_agent.readers.reader import DeviceIdentity


class Places:
    """Of all readers, in this run. Times are those of one clock."""

    def __init__(self) -> None:
        self._boards: dict[str, str] = {}  # uuid by PCI address, also of one that is gone
        self._instances: dict[str, tuple[float, tuple[str, Place, str]]] = {}  # by uuid, and since when it is known

    def learn(self, devices: Sequence[DeviceIdentity], now: float) -> None:
        """The devices of one reader; an instance that is where it was is known since then."""
        boards = {device.uuid for device in devices if not device.parent}
        self._boards |= {device.pci_bus_id: device.uuid for device in devices if not device.parent}
        before, self._instances = self._instances, {
            uuid: known for uuid, known in self._instances.items() if known[1][0] not in boards
        }
        for device in devices:
            if device.parent:
                each = device.parent, device.place, device.uuid
                since, was = before.get(device.uuid, (now, each))
                self._instances[device.uuid] = (since if was == each else now, each)

    def device_at(self, pci_bus_id: str, place: Place, at: float) -> str:
        """Uuid of the instance or the board that was there at `at`; empty: not known.

        Before its reader named the instances that there are, others may have been at their places: the board's then.
        """
        instances = [each for since, each in self._instances.values() if at >= since]
        return device_of(self._boards.get(pci_bus_id, ""), place, instances)
