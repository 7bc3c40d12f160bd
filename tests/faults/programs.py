"""A scene of the fault suite: a real collector, and nodes with a real agent each on a simulated driver that notes every
reading. They are killed, paused and restarted; at the end what was owed is audited against what is stored."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from math import isnan
from pathlib import Path
from signal import SIGKILL
from types import TracebackType
from typing import Self

from fallow_client.client import Client
from fallow_proto.failpoint import VARIABLE, Point
from tests.e2e.programs import Agent, Collector, Program, until
from tests.faults import impatient
from tests.faults.audit import ENERGY, Verdict, audit, given_out, in_spool, in_store
from tests.faults.tap import Tap
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

QUICK = ("interval_s = 0.1", 'readers.enabled = ["nvidia"]')

NODES = 100  # more than a scene has


class Node:
    """An agent with a spool of its own, and boards of which the first is audited: a report carries them all. End it by
    what is here, or `owed` lacks something."""

    def __init__(
        self, folder: Path, library: Path, number: int, collector: str, pace: Sequence[str], boards: int = 1
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name_of(number)
        self.board = board_of(number)
        self.spool = folder / "agent"
        self.driver = Simulator(library, folder / "scenario")
        self.driver.note_energy()
        alive = [h100(number + NODES * each) for each in range(boards)]
        self.driver.play(Scenario(tuple(replace(board, energy_since_s=time.monotonic()) for board in alive)))
        environment = {**self.driver.environment, "FALLOW_AGENT_NODE": self.name}
        self.agent = Agent(folder, collector, *pace, more_environment=environment)
        self.owed: set[int] = set()
        """Readings that were in the spool when an agent ended."""

    def made(self) -> list[int]:
        """Every reading until now, in order: values of the energy counter, millijoules."""
        return given_out(self.driver.energy_log, self.board) if self.driver.energy_log.exists() else []

    def wait_for_readings(self, more: int) -> None:
        enough = len(self.made()) + more
        until(lambda: len(self.made()) >= enough, f"the agent of {self.name} makes {more} readings more")

    def start(self) -> None:
        self.agent.start()

    def kill(self) -> None:
        self.agent.kill()
        self.note_owed()

    def stop(self) -> None:
        """SIGTERM: what it read is in its spool then, or acknowledged."""
        assert self.agent.stop() == 0, self.agent.tail()
        self.note_owed()

    def note_owed(self) -> None:
        """What the spool of the agent holds that has just ended."""
        if (self.spool / "spool.sqlite").exists():
            self.owed |= set(in_spool(self.spool, self.board))


class Scene:
    """As a context manager it starts all programs, and ends them whatever happens."""

    def __init__(
        self, folder: Path, library: Path, *settings: str, nodes: int = 1, pace: Sequence[str] = QUICK,
        boards: int = 1, address: str = "",
    ) -> None:
        """library: folder of the simulated NVML. settings: lines of collector.toml. pace: lines of agent.toml. address:
        where agents look for the collector (a proxy's); else they reach it through `tap`."""
        self.collector = Collector(folder, *settings)
        self.store = folder / "collector" / "store"
        self.tap = Tap(self.collector.grpc, {name_of(number): board_of(number) for number in range(nodes)})
        to = address or self.tap.address
        self.nodes = [Node(folder / name_of(number), library, number, to, pace, boards) for number in range(nodes)]

    @property
    def node(self) -> Node:
        """The only one."""
        [node] = self.nodes
        return node

    @property
    def programs(self) -> list[Program]:
        return [*(node.agent for node in self.nodes), self.collector]

    def __enter__(self) -> Self:
        with ExitStack() as begun:
            begun.enter_context(self.tap)
            begun.callback(self._end)
            self.collector.start()
            for node in self.nodes:
                node.start()
            self._begun = begun.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for program in self.programs:
                print(f"--- {program.log}\n{program.tail()}")
        self._begun.close()

    def _end(self) -> None:
        for program in self.programs:
            if program.is_running:
                program.kill()

    def settle(self) -> None:
        """The store gets all that is owed; then all programs end. Fails if it does not get it."""
        for node in self.nodes:
            if not node.agent.is_running:
                node.start()
            node.wait_for_readings(3)  # before that it may not even know how to stop
            node.stop()
            node.start()
        for node in self.nodes:
            until(partial(self._shows_all, node), f"all that {node.name} had to keep is stored")
            node.agent.kill()
        assert self.collector.stop() == 0, self.collector.tail()

    def _shows_all(self, node: Node) -> bool:
        return node.owed <= self.shown(node)

    def shown(self, node: Node) -> set[int]:
        """The readings of a node in the history that the collector shows."""
        with Client(self.collector.url) as client:
            rows = client.history(node.board, [ENERGY], start="-7d").rows
        return {round(joules * 1000) for _, joules in rows if joules is not None and not isnan(joules)}

    def readings(self, node: Node) -> set[int]:
        """Those of a node in the embedded store, when the collector has ended."""
        return set(in_store(self.store, node.board))

    def verdicts(self) -> list[Verdict]:
        """Of each node; after `settle`. Owed is what was in a spool when its agent ended, and what was acknowledged."""
        return [
            audit(node.made(), in_store(self.store, node.board), node.owed | self.tap.acknowledged[node.name])
            for node in self.nodes
        ]


def dialling_at_once(scene: Scene) -> Scene:
    """Its agents dial again at once, so that thousands of faults take minutes."""
    for node in scene.nodes:
        node.agent.under = (sys.executable, impatient.__file__)
    return scene


def name_of(number: int) -> str:
    return f"n{number}"


def board_of(number: int) -> str:
    return h100(number).uuid


def start_to_be_killed(program: Program, point: Point, times: int) -> None:
    """Start it so that it ends itself by SIGKILL when it reaches the point for that time; ready or not."""
    program.also = {VARIABLE: f"{point}:{times}"}
    Program.start(program)
    program.also = {}


def wait_for_its_kill(program: Program) -> None:
    status = program.ended()
    assert status == -SIGKILL, f"{program.name} ended with {status} and not at its failpoint:\n{program.tail()}"
