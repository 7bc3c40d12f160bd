"""Power cuts of both hosts: programs start without help on what the disk held, and what was acknowledged is there."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

import pytest

from fallow_client import Client, Request
from fallow_client.errors import FallowError
from fallow_proto.alerts import SilenceWanted
from tests.e2e.programs import Program, until
from tests.faults.disks import Disk
from tests.faults.programs import Scene, dialling_at_once
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

QUICK = (
    "idle.confirm_s = 2", "idle.confirm_readings = 3", "idle.confirm_after_release_s = 1",
    "store.embedded.min_free_gib = 0",
)
ONE = Request(count=1, vendor=["nvidia"])
HOLDER = "tests"


@contextmanager
def paused(program: Program) -> Iterator[None]:
    """Nothing of it runs inside the block, not even in the kernel: else a copy would show its disk at many moments."""
    os.kill(program.pid, SIGSTOP)
    try:
        until(lambda: all(state == "T" for state in states(program.pid)), f"{program.name} is paused")
        yield
    finally:
        os.kill(program.pid, SIGCONT)


def states(pid: int) -> list[str]:
    """Of each of its threads: see proc_pid_stat(5)."""
    return [
        stat.read_text(encoding="ascii").rpartition(") ")[2][0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ]


def is_damaged(disk: Disk) -> bool:
    return any(disk.at.rglob("*damaged*")) or any(disk.at.glob("store/quarantine/*"))


class Promises:
    """What the collector said that it keeps: leases with rising tokens, silences."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.lease = ""
        self.silences: set[str] = set()

    def ask(self, fallow: Client) -> None:
        """For a silence, and for a lease if there is none or else for its end."""
        wanted = SilenceWanted(matchers=['node="n0"'], comment="power cut", for_s=3600.0)
        self.silences.add(fallow.silence(wanted).id)
        try:
            if self.lease:
                fallow.release(self.lease, self.tokens[-1], holder=HOLDER)
                self.lease = ""
            else:
                lease = fallow.reserve(ONE, holder=HOLDER, ttl_s=3600.0)
                self.lease = lease.lease_id
                self.tokens.append(lease.fencing_token)
        except FallowError:  # not yet clean since the last lease, or not yet seen since the last cut
            pass

    def check(self, fallow: Client) -> None:
        standing = [lease.lease_id for lease in fallow.leases(HOLDER).items if lease.state == "leased"]
        assert standing == ([self.lease] if self.lease else [])
        assert self.silences <= {silence.id for silence in fallow.silences().items}
        assert self.tokens == sorted(set(self.tokens))


def test_power_cuts_of_the_collector_s_host_lose_nothing_that_was_acknowledged(
    tmp_path: Path, nvml_library: Path
) -> None:
    chance = Random(21)
    cuts = cycles(short=3, long=300)
    promises = Promises()
    longest_s = 0.0
    with Disk(tmp_path / "state.ext4", tmp_path / "collector", mib=128) as disk, \
            dialling_at_once(Scene(tmp_path, nvml_library, *QUICK)) as scene:
        acknowledged = scene.tap.acknowledged[scene.node.name]
        for cut in range(cuts):
            before = len(acknowledged)
            until(lambda: len(acknowledged) > before, "an acknowledgement")  # noqa: B023
            with Client(scene.collector.url) as fallow:
                promises.ask(fallow)
            time.sleep(chance.uniform(0.0, 1.0))  # the moment of the fault
            with paused(scene.collector):
                disk.copy(tmp_path / "cut")
                owed = set(acknowledged)
            scene.collector.kill()
            disk.swap(tmp_path / "cut")
            began = time.monotonic()
            scene.collector.start()
            longest_s = max(longest_s, time.monotonic() - began)
            scene.node.owed |= owed
            assert not is_damaged(disk), f"cut {cut}: {scene.collector.tail()}"
            with Client(scene.collector.url) as fallow:
                promises.check(fallow)
        scene.settle()
        found = scene.verdicts()
    record(row_of("power cut of the collector's host", cuts, found, longest_s))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
    assert len(promises.silences) == cuts
    assert promises.tokens


def test_power_cuts_of_an_agent_s_host_lose_nothing_that_was_acknowledged(tmp_path: Path, nvml_library: Path) -> None:
    chance = Random(22)
    cuts = cycles(short=3, long=300)
    longest_s = 0.0
    with Disk(tmp_path / "spool.ext4", tmp_path / "n0" / "agent", mib=32) as disk, \
            dialling_at_once(Scene(tmp_path, nvml_library, *QUICK)) as scene:
        node = scene.node
        for cut in range(cuts):
            if cut % 2:
                scene.collector.kill()  # so that each tick is committed, and nobody else has it
            node.wait_for_readings(chance.randrange(5, 30))
            disk.write_back()
            node.wait_for_readings(chance.randrange(2, 20))
            with paused(node.agent):
                disk.copy(tmp_path / "cut")
            node.agent.kill()
            disk.swap(tmp_path / "cut")
            node.note_owed()
            if cut % 2:
                scene.collector.start()
            began = time.monotonic()
            node.start()
            node.wait_for_readings(1)
            longest_s = max(longest_s, time.monotonic() - began)
            assert not is_damaged(disk), f"cut {cut}: {node.agent.tail()}"
        scene.settle()
        found = scene.verdicts()
    record(row_of("power cut of an agent's host", cuts, found, longest_s))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
    assert node.owed
    assert scene.tap.acknowledged[node.name]
