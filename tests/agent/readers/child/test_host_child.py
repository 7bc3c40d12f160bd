"""The host's reader in its process, as the agent runs it."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fallow_agent.readers import messages as m
from fallow_agent.readers.child import ReaderChild, Zygote
from fallow_agent.sampler import Sampler
from fallow_proto.metrics import Group

PATIENCE = 60.0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[ReaderChild]:
    zygote = Zygote(["host"])
    child = ReaderChild("host", zygote, tmp_path, time.monotonic())
    yield child
    give_up = time.monotonic() + PATIENCE
    child.stop(time.monotonic())
    while not child.over:
        assert time.monotonic() < give_up, child.status
        child.tick(time.monotonic())
        select.select([child], [], [], 0.02)
    child.close()
    zygote.close()


def read(child: ReaderChild, sampler: Sampler) -> dict[str, float]:
    """Ask once, as the agent's loop does."""
    give_up = time.monotonic() + PATIENCE
    asked = False
    while True:
        now = time.monotonic()
        assert now < give_up, child.status
        if child.free and not asked:
            child.ask((Group.FAST,), now)
            asked = True
        select.select([child], [], [], 0.02)
        for answer in child.tick(time.monotonic()):
            sampler.take(child.name, answer, now)
            if isinstance(answer, m.Read):
                return dict(answer.readings[Group.FAST][0].values)


def test_the_hosts_numbers_come_into_a_report_and_the_agents_own_work_is_not_among_them(child: ReaderChild) -> None:
    sampler = Sampler(1.0, time.monotonic())
    read(child, sampler)
    own = psutil.Process()
    before = sum(own.cpu_times()[:2])
    while sum(own.cpu_times()[:2]) - before < 0.5:  # this process is what the zygote takes for the agent
        sum(range(10_000))
    values = read(child, sampler)
    left_out = values["utilization_ratio"] * values["cpu_cores"] - values["cpu_busy_cores"]
    assert left_out > 0
    block = next(block for block in sampler.layout.blocks if block.group == Group.FAST)
    report = sampler.report(1, 0, 0)
    row = dict(zip(block.gauges, report.readings[0].gauges, strict=True))
    assert row["cpu_cores"] == os.cpu_count()
    assert row["memory_usage_bytes"] == pytest.approx(values["memory_usage_bytes"], rel=0.5)
    assert [device.device_class for _, device in sampler.devices] == ["general"]
