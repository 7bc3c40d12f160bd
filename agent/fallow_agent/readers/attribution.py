"""Whose a fault is on a board in MIG mode: a driver names the board and, where it can tell, the instance on it.

Pure; both witnesses of an Xid, NVML and the kernel's log, go by it, so that they speak of the same device.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """Of an instance on its board, by the driver's numbers; None: it does not say."""

    gpu_instance: int | None = None
    compute_instance: int | None = None

    @property
    def words(self) -> str:
        """For people; empty where there is nothing to say."""
        if self.gpu_instance is None:
            return ""
        part = "" if self.compute_instance is None else f", compute instance {self.compute_instance}"
        return f" on GPU instance {self.gpu_instance}{part}"


NOWHERE = Place()


def device_of(board: str, place: Place, instances: Iterable[tuple[str, Place, str]]) -> str:
    """A uuid: of the one instance that is meant, else of the board.

    instances: each with its board's uuid, its place and its own uuid. A GPU instance of which several compute instances
    were made has no name of its own, so where only it is named the fault is the board's.
    """
    if place.gpu_instance is None:
        return board
    meant = [
        uuid for parent, at, uuid in instances
        if parent == board and at.gpu_instance == place.gpu_instance
        and place.compute_instance in (None, at.compute_instance)
    ]
    return meant[0] if len(meant) == 1 else board
