"""A fleet whose collector is killed comes back to it at once: within a minute, and at a bounded cost."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from fallow_client.connection import settings_for
from fallow_sim.identity import node_name
from tests.collector.ingest.certificates import Authority
from tests.e2e.programs import Collector, Sim, until
from tests.faults.table import Row, cycles, record

BACK_S = 60.0
MIB = 2**20
ROOM_BYTES = 400 * MIB
BYTES_A_NODE = MIB // 2
"""Of the collector's memory: generous, yet a leak for each try of each node would not fit."""


def test_a_fleet_comes_back_within_a_minute(tmp_path: Path) -> None:
    with fleet(tmp_path, cycles(short=200, long=2_000)) as (collector, nodes):
        come_back(collector, nodes, "herd")


def test_a_fleet_with_certificates_comes_back_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = 60  # that share a certificate, which may bear 64 names
    authority = Authority()
    ca = tmp_path / "ca"
    ca.write_bytes(authority.pem)
    of_collector = authority.issue("collector", ("localhost",))
    of_nodes = authority.issue("fleet", tuple(node_name(number) for number in range(nodes)))
    for name, pair in (("collector", of_collector), ("nodes", of_nodes)):
        (tmp_path / f"{name}.pem").write_bytes(pair.certificate)
        (tmp_path / f"{name}.key").write_bytes(pair.key)
    listens = [f'tls = {{cert = "{tmp_path}/collector.pem", key = "{tmp_path}/collector.key", client_ca = "{ca}"}}']
    asks = ["--tls-ca", str(ca), "--tls-cert", f"{tmp_path}/nodes.pem", "--tls-key", f"{tmp_path}/nodes.key"]
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    with fleet(tmp_path, nodes, listens, asks) as (collector, _):
        come_back(collector, nodes, "herd, mTLS")


@contextmanager
def fleet(
    folder: Path, nodes: int, listens: Sequence[str] = (), asks: Sequence[str] = ()
) -> Iterator[tuple[Collector, int]]:
    """A collector, and that many agents with a connection each, all there."""
    collector = Collector(folder, *listens)
    to = collector.grpc
    if listens:
        collector.url = collector.url.replace("http://127.0.0.1", "https://localhost")
        to = to.replace("127.0.0.1", "localhost")
    with collector, Sim(
        folder, to, "--nodes", str(nodes), "--devices", "2", "--interval", "2", "--streams-per-channel", "1", *asks
    ):
        until(lambda: streams(collector) == nodes, "all agents are there")
        yield collector, nodes


def come_back(collector: Collector, nodes: int, fault: str) -> None:
    collector.kill()
    collector.start()
    began = time.monotonic()
    until(lambda: streams(collector) == nodes, "all agents are back", BACK_S)
    back_s = time.monotonic() - began
    used = psutil.Process(collector.pid)
    assert used.memory_info().rss < ROOM_BYTES + nodes * BYTES_A_NODE
    assert streams(collector) == nodes, "and they stay"
    record(Row(f"{fault}: {nodes} agents at once, {sum(used.cpu_times()[:2]):.1f} s of CPU", 1, recovery_s=back_s))


def streams(collector: Collector) -> int:
    """Agents that are connected."""
    with httpx.Client(**settings_for(collector.url)) as http:
        lines = http.get("/metrics").text.splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("fallow_ingest_streams "))
