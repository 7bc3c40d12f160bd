"""What is taken up from the state file at start is what was put there."""

from pathlib import Path

import numpy as np

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import BIT, WITNESSES, BaseSource, FloorSource
from fallow_collector.keep import Keeper
from fallow_collector.state import State
from tests.collector.ingest.builders import NODE, device, hello


class Run:
    """One life of the collector, as far as it is kept."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.engine = Engine(IdleSettings())
        self.fleet = Fleet(self.engine, WITNESSES)
        self.keeper = Keeper(self.state, self.fleet, self.engine)
        self.restored = self.keeper.restore(0.0)

    def learn(self, uuid: str, floor_watts: float, clean_s: float = 700.0) -> None:
        row = self.row(uuid)
        self.engine.state["floor_watts"][row] = floor_watts
        self.engine.state["floor_source"][row] = FloorSource.LEARNED
        self.engine.state["base_bytes"][row] = 4e8
        self.engine.state["base_source"][row] = BaseSource.ACCEPTED
        self.engine.state["ever_read"][row] = BIT["power_watts"] | BIT["processes"]
        self.engine.state["clean_s"][row] = clean_s

    def row(self, uuid: str) -> int:
        row = self.fleet.find(uuid)
        assert row is not None
        return row

    def keep(self) -> tuple[int, int]:
        changes = self.keeper.changes()
        changes.save(self.state)
        return len(changes.seen), len(changes.learned)

    def end(self) -> None:
        self.keep()
        self.state.close()


def test_devices_and_what_was_learned_of_them_are_there_after_a_restart(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fleet.hello(hello().hello, 0.0, 0.0)
    run.fleet.declare("declared-0", "node-9", "default", "nvidia", "A100", "super")
    run.learn(f"{NODE}-gpu-0", 61.5)
    run.end()
    again = Run(tmp_path)
    assert again.restored == 3
    learned, untouched = again.row(f"{NODE}-gpu-0"), again.row(f"{NODE}-gpu-1")
    assert again.engine.state["floor_watts"][learned] == 61.5
    assert again.engine.state["floor_source"][learned] == FloorSource.LEARNED
    assert again.engine.state["base_source"][learned] == BaseSource.ACCEPTED
    assert again.engine.state["ever_read"][learned] == BIT["power_watts"] | BIT["processes"]
    assert np.isnan(again.engine.state["floor_watts"][untouched])
    assert again.fleet.declared[again.row("declared-0")]
    assert again.fleet.device_class(again.row("declared-0")) == "super"
    assert again.keep() == (0, 0), "nothing has changed since"
    again.end()


def test_a_baseline_of_another_driver_is_not_taken_up(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fleet.hello(hello().hello, 0.0, 0.0)
    run.learn(f"{NODE}-gpu-0", 61.5)
    run.keep()
    run.fleet.hello(hello(devices=[device(f"{NODE}-gpu-0", driver_version="600")]).hello, 0.0, 0.0)
    run.end()
    again = Run(tmp_path)
    assert np.isnan(again.engine.state["floor_watts"][again.row(f"{NODE}-gpu-0")])
    again.end()


def test_only_what_has_changed_is_kept_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fleet.hello(hello().hello, 0.0, 0.0)
    run.learn(f"{NODE}-gpu-0", 61.5)
    assert run.keep() == (2, 1)
    assert run.keep() == (0, 0)
    run.learn(f"{NODE}-gpu-0", 61.5, clean_s=701.0)
    assert run.keep() == (0, 0), "a second of clean readings more is not worth a flush of the disk"
    run.learn(f"{NODE}-gpu-0", 61.5, clean_s=701.0 + 3600)
    assert run.keep() == (0, 1)
    run.learn(f"{NODE}-gpu-0", 60.0, clean_s=701.0 + 3600)
    assert run.keep() == (0, 1)
    run.end()


def test_what_could_not_be_kept_is_kept_later(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fleet.hello(hello().hello, 0.0, 0.0)
    run.learn(f"{NODE}-gpu-0", 61.5)
    changes = run.keeper.changes()
    run.keeper.put_back(changes)
    assert run.keep() == (2, 1)
    run.end()


def test_a_retired_device_is_not_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.fleet.declare("declared-0", "node-9", "default", "nvidia", "A100", "")
    run.fleet.retire(run.row("declared-0"))
    assert run.keep() == (0, 0)
    run.end()
