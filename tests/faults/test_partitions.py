"""Partitions between hosts that are network namespaces: each side notices within 10 s, capacity counts nobody who is
cut off, and afterwards nothing is missing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.programs import until
from tests.faults.networks import Networks
from tests.faults.noticed import NOTICED_S, QUICK, idle, is_back, is_lost, losses
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

pytestmark = [pytest.mark.server("cc"), pytest.mark.server("ip")]

PACE = ("interval_s = 0.5", 'readers.enabled = ["nvidia"]', "insecure = true")


class Hosts(NamedTuple):
    networks: Networks
    scene: Scene


@contextmanager
def hosts(folder: Path, library: Path, nodes: int) -> Iterator[Hosts]:
    """A collector and agents, each on a host of its own; all boards are idle."""
    with Networks(nodes) as networks, networks.at_the_centre():
        scene = Scene(folder, library, *QUICK, "auth.insecure = true", nodes=nodes, pace=PACE)
        port = scene.collector.grpc.rpartition(":")[2]
        scene.collector.also = {"FALLOW_COLLECTOR_GRPC__LISTEN": f"0.0.0.0:{port}"}
        for number, node in enumerate(scene.nodes):
            node.agent.under = networks.under(number)
            node.agent.also = {"FALLOW_AGENT_COLLECTOR": f"{networks.far(number)}:{port}"}
        with scene:
            until(lambda: idle(scene) == nodes, "all boards are idle")
            yield Hosts(networks, scene)


def test_whoever_is_cut_off_is_noticed_on_both_sides_and_counted_by_nobody(tmp_path: Path, nvml_library: Path) -> None:
    rounds = cycles(short=1, long=20)
    back_s = 0.0
    with hosts(tmp_path, nvml_library, nodes=5) as (networks, scene):
        unplugged, mute, deaf, half_open, untouched = scene.nodes
        for _ in range(rounds):
            before = {node.name: losses(node) for node in scene.nodes}
            networks.plug(0, is_in=False)
            networks.swallow(1, what_it_sends=True)
            networks.swallow(2, what_it_gets=True)
            networks.swallow(3, what_it_sends=True, what_it_gets=True)
            began = time.monotonic()
            half_open.kill()  # the collector gets no FIN of it
            half_open.start()
            for node in (unplugged, mute, deaf, half_open):
                left_s = began + NOTICED_S - time.monotonic()
                until(partial(is_lost, scene, node), f"the collector notices that {node.name} is cut off", left_s)
            assert idle(scene) == 1
            for node in (unplugged, mute, deaf):
                left_s = began + NOTICED_S - time.monotonic()
                until(lambda: losses(node) > before[node.name], f"{node.name} notices it", left_s)  # noqa: B023
            assert losses(untouched) == before[untouched.name]
            networks.plug(0, is_in=True)
            networks.swallow(1)
            networks.swallow(2)
            networks.swallow(3)
            mended = time.monotonic()
            for node in scene.nodes:
                until(partial(is_back, scene, node), f"{node.name} is back")
            back_s = max(back_s, time.monotonic() - mended)
        scene.settle()
        found = scene.verdicts()
    record(row_of("partition: both ways, one way, half open", rounds * 4, found, back_s))
    for verdict in found:
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented


def test_a_collector_that_was_restarted_behind_a_partition_is_noticed(tmp_path: Path, nvml_library: Path) -> None:
    with hosts(tmp_path, nvml_library, nodes=1) as (networks, scene):
        networks.swallow(0, what_it_sends=True, what_it_gets=True)
        scene.collector.kill()
        until(lambda: losses(scene.node), "the agent notices it", NOTICED_S)
        scene.collector.start()
        networks.swallow(0)
        mended = time.monotonic()
        until(partial(is_back, scene, scene.node), "it is back")
        back_s = time.monotonic() - mended
        scene.settle()
        found = scene.verdicts()
    record(row_of("half open: restarted collector", 1, found, back_s))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
