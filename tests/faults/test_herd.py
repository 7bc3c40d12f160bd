"""A fleet whose collector is killed comes back to it at once: within a minute, at a bounded cost, with nothing lost,
and to nobody's harm who is there."""

import time
from pathlib import Path

import pytest

from fallow_client.calls import Where
from fallow_client.client import Client
from tests.e2e.programs import Agent, until
from tests.faults.audit_fleet import audit_of_fleet
from tests.faults.herd import Fleet, Papers, Place, names
from tests.faults.table import Row, cycles, record, row_of

BACK_S = 60.0
MIB = 2**20
ROOM_BYTES = 400 * MIB
BYTES_A_NODE = MIB // 4
"""Of the collector's memory: 96 KiB without TLS and 170 with, and time to grow; a leak for each try would not fit."""

ROOM_CPU_S = 15.0
CPU_S_A_NODE = 0.015
"""A connection with mTLS, the node's Hello and what it has missed to say cost 0.005."""


def test_a_fleet_comes_back_within_a_minute(tmp_path: Path) -> None:
    come_back(tmp_path, cycles(short=200, long=2_000), "herd")


def test_a_fleet_with_a_certificate_for_each_node_comes_back_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = cycles(short=100, long=2_000)
    papers = Papers(tmp_path / "papers", names(nodes), time.time())
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.ca))
    come_back(tmp_path, nodes, "herd, mTLS", papers)


def test_a_fleet_that_arrives_disturbs_nobody_who_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, calm = cycles(short=100, long=2_000), "calm"
    papers = Papers(tmp_path / "papers", [*names(nodes), calm], time.time())
    monkeypatch.setenv("SSL_CERT_FILE", str(papers.ca))
    with Place(tmp_path, papers) as place:
        settings = ('readers.enabled = ["host"]', papers.agent(calm))
        agent = Agent(tmp_path / "calm", place.to, *settings, more_environment={"FALLOW_AGENT_NODE": calm})
        with agent, Client(place.collector.url) as client:
            until(lambda: freshness(client, calm) == "live", "the agent is there")
            seen = set()

            def arrived() -> bool:
                seen.add(freshness(client, calm))
                return place.streams == 1 + nodes

            with Fleet(tmp_path, place.to, nodes, papers):
                began = time.monotonic()
                until(arrived, "all agents are there beside it")
                record(Row(f"herd, mTLS: {nodes} agents come to one", 1, recovery_s=time.monotonic() - began))
        log = place.collector.log.read_text(encoding="utf-8")
    assert "lost" not in seen
    assert log.count(f"stream began node={calm} ") == 1


def come_back(folder: Path, nodes: int, fault: str, papers: Papers | None = None) -> None:
    with Place(folder, papers) as place:
        empty = place.resident_bytes
        with Fleet(folder, place.to, nodes, papers) as fleet:
            until(lambda: place.streams == nodes, "all agents are there")
            kib_a_node = (place.resident_bytes - empty) / nodes / 1024
            place.until_stored(2, nodes)
            place.collector.kill()
            place.collector.start()
            began, started_s = time.monotonic(), place.cpu_s
            until(lambda: place.streams == nodes, "all agents are back", BACK_S)
            back_s, cpu_s = time.monotonic() - began, place.cpu_s - started_s
            place.until_stored(2, nodes)
            assert place.resident_bytes < ROOM_BYTES + nodes * BYTES_A_NODE
            assert cpu_s < ROOM_CPU_S + nodes * CPU_S_A_NODE
            assert place.streams == nodes, "and they stay"
            fleet.stop()
        place.collector.stop()
    found = audit_of_fleet(fleet.acked, place.store)
    told = f"{fault}: {nodes} agents at once, {cpu_s:.1f} s of CPU, {kib_a_node:.0f} KiB each"
    record(row_of(told, 1, [found], back_s))
    assert not found.lost
    assert not found.doubled
    assert not found.invented
    assert found.stored >= 4 * nodes


def freshness(client: Client, node: str) -> str:
    found = client.nodes(Where(node=(node,))).items
    return found[0].freshness if found else ""
