"""Who in the collector listens to what agents say beside their reports."""

import time

from fallow_collector.answers.ledgers import Ledgers
from fallow_collector.answers.quiesce import Quiescing
from fallow_collector.desk import Desk
from fallow_collector.health.board import Board
from fallow_collector.processes.board import Processes
from fallow_proto.v1 import telemetry_pb2 as pb


class Listeners:
    """What they say of fences goes to the desk, what they read of schedulers to the ledgers, what happened to their
    devices to the board of health, who is on them to the processes, how readers are to whoever waits for a quiesce."""

    def __init__(
        self, desk: Desk, ledgers: Ledgers, health: Board, processes: Processes, quiescing: Quiescing
    ) -> None:
        self._desk = desk
        self._health = health
        self._quiescing = quiescing
        self.events = health.take
        self.fenced = desk.fenced
        self.ledger = ledgers.ledger
        self.processes = processes.take
        self.gone = processes.gone

    def hello(self, hello: pb.Hello, now: float) -> None:
        self._health.hello(hello, time.time())
        self._desk.hello(hello, now)
        self._quiescing.heard(hello)
