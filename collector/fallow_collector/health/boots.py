"""Which boot each node is in, so that a reboot is known for one, also by a collector that was away meanwhile."""

from collections.abc import Iterable

from fallow_collector.state import BootRow


class Boots:
    def __init__(self, rows: Iterable[BootRow] = ()) -> None:
        self._boot = {row.node: row.boot_id for row in rows}
        self._changed: set[str] = set()

    def heard(self, node: str, boot_id: str) -> bool:
        """Whether the node has been restarted since it was last heard of."""
        before = self._boot.get(node)
        if not boot_id or before == boot_id:
            return False
        self._boot[node] = boot_id
        self._changed.add(node)
        return before is not None

    def changes(self) -> list[BootRow]:
        """What is to be kept; it counts as kept from now."""
        rows = [BootRow(node, self._boot[node]) for node in sorted(self._changed)]
        self._changed.clear()
        return rows

    def put_back(self, rows: Iterable[BootRow]) -> None:
        """They could not be kept."""
        self._changed.update(row.node for row in rows)
