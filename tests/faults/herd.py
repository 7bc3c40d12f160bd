"""A fleet of simulated nodes with a connection each, and the collector it comes back to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import httpx
import psutil

from fallow_client.connection import settings_for
from fallow_collector.certs.authority import Authority
from fallow_sim.identity import node_name
from tests.e2e.programs import Collector, Sim, until

DEVICES = 2
INTERVAL_S = 2.0


class Papers:
    """An authority, the collector's certificate, and one for each node."""

    def __init__(self, folder: Path, nodes: Sequence[str], now: float) -> None:
        authority = Authority(folder, 86_400.0)
        authority.init(now)
        authority.issue_collector(["localhost"], now)
        for node in nodes:
            authority.issue_node(node, now)
        authority.close()
        self.ca = authority.bundle_path
        self.nodes = authority.tls / "nodes"
        pair = authority.collector_path
        self.collector = f'tls = {{cert = "{pair}", key = "{pair}", client_ca = "{self.ca}"}}'
        self.fleet = ("--tls-ca", str(self.ca), "--tls-nodes", str(self.nodes))

    def agent(self, node: str) -> str:
        pair = self.nodes / f"{node}.pem"
        return f'tls = {{ca = "{self.ca}", cert = "{pair}", key = "{pair}"}}'


def names(nodes: int) -> list[str]:
    return [node_name(number) for number in range(nodes)]


class Place:
    """A collector, with TLS if there are papers, and where its agents and its audit find it."""

    def __init__(self, folder: Path, papers: Papers | None = None) -> None:
        self.collector = Collector(folder, *([papers.collector] if papers else []))
        self.to = self.collector.grpc
        self.store = folder / "collector" / "store"
        if papers:
            self.collector.url = self.collector.url.replace("http://127.0.0.1", "https://localhost")
            self.to = self.to.replace("127.0.0.1", "localhost")

    def __enter__(self) -> Self:
        self.collector.start()
        self._http = httpx.Client(**settings_for(self.collector.url))
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        if self.collector.is_running:
            self.collector.stop()

    @property
    def streams(self) -> int:
        """Agents that are connected."""
        return round(self.number("fallow_ingest_streams"))

    @property
    def cpu_s(self) -> float:
        """Of the collector since its start."""
        times = psutil.Process(self.collector.pid).cpu_times()
        return times.user + times.system

    @property
    def resident_bytes(self) -> int:
        return int(psutil.Process(self.collector.pid).memory_info().rss)

    def number(self, name: str) -> float:
        """Of /metrics, without labels."""
        lines = self._http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def until_stored(self, reports_a_node: int, nodes: int) -> None:
        rows = reports_a_node * nodes * DEVICES
        until(lambda: self.number("fallow_writer_rows_total") >= rows, f"{rows} rows are stored")


class Fleet(Sim):
    def __init__(self, folder: Path, to: str, nodes: int, papers: Papers | None = None) -> None:
        self.acked = folder / "acked.jsonl"
        super().__init__(
            folder, to, "--nodes", str(nodes), "--devices", str(DEVICES), "--interval", str(INTERVAL_S),
            "--streams-per-channel", "1", "--acked", str(self.acked), *(papers.fleet if papers else ()),
        )
