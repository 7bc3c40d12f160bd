"""A node under watch with the board of health over it, for tests."""

from pathlib import Path

from fallow_collector.health.board import Board
from fallow_collector.health.incident import Incident
from fallow_collector.health.rules import Rules, shipped
from fallow_collector.state import EventRow, State
from fallow_proto.states import EventKind, Health
from tests.collector.watching import IDLE, Watched, device

FULL = {**IDLE, "recovery_action": 0.0, "pcie_replays_total": 100.0, "throttle_thermal_seconds_total": 5.0}


class Clinic:
    """A node of `size` devices g0, g1, … and the board over it."""

    def __init__(self, folder: Path, size: int = 2, rules: Rules | None = None) -> None:
        self.node = Watched(*(device(f"g{n}", index=n) for n in range(size)))
        self.size = size
        self.folder = folder
        self.rules = rules or shipped()
        self.notes: list[tuple[EventKind, str]] = []
        self.state = State(folder)
        self.board = self._board()
        self.stays(5)

    def _board(self) -> Board:
        return Board(
            self.rules, self.node.fleet, self.state,
            lambda kind, node, uuid, text, source: self.notes.append((kind, text)), round(self.wall * 1000),
        )

    @property
    def wall(self) -> float:
        return self.node.now + self.node.WALL

    def ms(self, ago_s: float = 0.0) -> int:
        """After told.T0."""
        return round((self.node.now - ago_s) * 1000)

    def set_clock(self, seconds: float) -> None:
        """The collector's, by so much."""
        self.node.WALL += seconds

    def tick(self) -> None:
        self.board.tick(self.node.assess().reasons, self.node.now, self.wall)

    def stays(self, seconds: float, *readings: dict[str, float]) -> None:
        self.node.stays(seconds, *(readings or (FULL,) * self.size))
        self.tick()

    def tell(self, *rows: EventRow) -> None:
        self.state.record(rows)
        self.board.take(rows)
        self.tick()

    def restart(self) -> None:
        self.board.keep().save(self.state)
        self.state.close()
        self.state = State(self.folder)
        self.node.fleet.verdict[:] = 0
        self.board = self._board()
        self.tick()

    def health(self, row: int = 0) -> str:
        return str(tuple(Health)[self.node.assess().health[row]])

    def open(self, uuid: str = "g0") -> list[Incident]:
        return [one for one in self.board.incidents(uuid, self.wall) if one.open]
