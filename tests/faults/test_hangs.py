"""Peers that hang while their kernels answer, and wires that swallow one direction: noticed, and nothing is lost."""

import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from tests.e2e.programs import until
from tests.faults.noticed import NOTICED_S, QUICK, idle, is_back, is_lost, losses
from tests.faults.programs import Scene, dialling_at_once
from tests.faults.proxy import GOOD, Fate, Proxy, Way
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

PACE = ("interval_s = 0.5", 'readers.enabled = ["nvidia"]')
HOLE = Way(is_black_hole=True)


def test_whoever_hangs_is_noticed_by_the_other_side_and_comes_back(tmp_path: Path, nvml_library: Path) -> None:
    rounds = cycles(short=1, long=20)
    back_s = 0.0
    scene = Scene(tmp_path, nvml_library, *QUICK, nodes=4, pace=PACE, address="127.0.0.1:1")
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy()) for _ in scene.nodes]
        for proxy, node in zip(proxies, scene.nodes, strict=True):
            proxy.lead_to(scene.collector.grpc)
            node.agent.also = {"FALLOW_AGENT_COLLECTOR": proxy.address}
        stack.enter_context(dialling_at_once(scene))
        mute, deaf, stopped, untouched = scene.nodes
        until(lambda: idle(scene) == len(scene.nodes), "all boards are idle")
        for _ in range(rounds):
            before = {node.name: losses(node) for node in scene.nodes}
            proxies[0].become(Fate(up=HOLE))
            proxies[1].become(Fate(down=HOLE))
            os.kill(stopped.agent.pid, SIGSTOP)
            began = time.monotonic()
            for node in (mute, stopped):
                left_s = began + NOTICED_S - time.monotonic()
                until(partial(is_lost, scene, node), f"the collector notices that {node.name} hangs", left_s)
            for node in (mute, deaf):
                left_s = began + NOTICED_S - time.monotonic()
                until(lambda: losses(node) > before[node.name], f"{node.name} notices it", left_s)  # noqa: B023
            assert losses(untouched) == before[untouched.name]
            until(lambda: idle(scene) == 1, "nobody who is silent is offered")
            for proxy in proxies:
                proxy.become(GOOD)
            os.kill(stopped.agent.pid, SIGCONT)
            back_s = max(back_s, wait_until_all_are_back(scene))

            before = {node.name: losses(node) for node in scene.nodes}
            os.kill(scene.collector.pid, SIGSTOP)
            began = time.monotonic()
            for node in scene.nodes:
                left_s = began + NOTICED_S - time.monotonic()
                until(lambda: losses(node) > before[node.name], f"{node.name} notices that it hangs", left_s)  # noqa: B023
            os.kill(scene.collector.pid, SIGCONT)
            back_s = max(back_s, wait_until_all_are_back(scene))
        scene.settle()
        found = scene.verdicts()
    record(row_of("SIGSTOP and black holes", rounds * 4, found, back_s))
    for verdict in found:
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented


def wait_until_all_are_back(scene: Scene) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    for node in scene.nodes:
        until(partial(is_back, scene, node), f"{node.name} is back")
    until(lambda: idle(scene) == len(scene.nodes), "all boards are idle")
    return time.monotonic() - began
