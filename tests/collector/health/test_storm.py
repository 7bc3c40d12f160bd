"""A storm from the kernel's log through the agent's coalescing to the collector's board, in virtual time."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow_collector.health.words import Action
from tests.collector.health.agent_side import AgentSide
from tests.collector.health.clinic import Clinic
from tests.collector.watching import device

STORMY, DEAD = "0000:01:00.0", "0000:02:00.0"
CODES = (*range(1, 14), 31, 32, 38, 43, 45, 48, 62, 63, 64, 68, 69, 74, 92, 94, 95)
"""With 79, which comes once and of another device, 29 kinds."""

SECONDS, A_SECOND = 300, 200


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    made = Clinic(tmp_path)
    made.node.devices = (device(STORMY), device(DEAD))
    made.node.hello()
    yield made
    made.state.close()


def test_a_storm_is_one_event_a_kind_shows_every_kind_and_the_dead_device_and_memory_stays_flat(
    clinic: Clinic,
) -> None:
    """200 lines a second for 5 minutes, of 29 kinds."""
    assert len({*CODES, 79}) == 29
    agent = AgentSide((STORMY, DEAD))
    lines = [f"NVRM: Xid (PCI:0000:01:00): {code}, pid=7, name=train, storm" for code in CODES]
    records = [b"4,%d,0,-;%s\n" % (n, line.encode()) for n, line in enumerate(lines)]
    lost = b"4,9,0,-;NVRM: Xid (PCI:0000:02:00): 79, GPU has fallen off the bus.\n"
    objects, sent = [], []
    for second in range(SECONDS):
        clinic.stays(1)
        now, now_ms = clinic.node.now, round(clinic.wall * 1000)
        for n in range(A_SECOND):
            agent.reads(records[n % len(records)], now_ms, now)
        if second == SECONDS // 2:
            agent.reads(lost, now_ms, now)
        rows = agent.sends(now)
        sent.append(len(rows))
        clinic.board.take(rows)
        clinic.tick()
        if second == SECONDS // 2:
            assert [one.rule for one in clinic.open(DEAD)] == ["xid 79"], "seen in the second in which it happened"
            assert clinic.health(clinic.node.fleet.find(DEAD) or 0) == "failed"
        if second in (30, SECONDS - 1):
            gc.collect()
            objects.append(len(gc.get_objects()))
    assert max(sent) <= len(CODES) + 1, "a storm of a kind is one event with a count"
    storm, = clinic.open(STORMY)
    assert {int(each.what.split(":")[0].removeprefix("Xid ")) for each in storm.evidence} == set(CODES)
    assert storm.times == SECONDS * A_SECOND
    assert storm.action is not Action.NONE
    assert objects[1] - objects[0] < 1000, "54,000 lines later"
