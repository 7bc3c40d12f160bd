"""The main job with real programs: simulated NVML → agent → gRPC → collector → store → `fallow`."""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fallow_proto import api
from tests.collector.stores.influx.servers import victoria_metrics
from tests.e2e.programs import Agent, Collector, until
from tests.simulators.nvml.scenario import MIB, Device, Hang, Process, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

QUICK = ("idle.confirm_s = 3", "idle.confirm_readings = 3")
FAST = ("interval_s = 0.5", "readers.deadline_s = 1.0")
FIRST, SECOND = h100(0).uuid, h100(1).uuid
STUCK = {"nvidia": "stuck", "ascend": "absent", "host": "ok"}
"""States of the readers while NVIDIA's driver hangs."""
BUSY = {
    "utilization_percent": 97, "power_milliwatts": 650_250, "memory_used_bytes": 40_000 * MIB,
    "compute_processes": (Process(os.getpid(), 39_000 * MIB),),
}
DONE = {
    "utilization_percent": 0, "power_milliwatts": 68_120, "memory_used_bytes": 1 * MIB, "compute_processes": (),
}


@contextmanager
def watched(
    folder: Path, nvml: Simulator, *settings: str, pace: Sequence[str] = FAST
) -> Iterator[tuple[Collector, Agent]]:
    """A collector with some settings more, and an agent of a node with two idle boards."""
    nvml.play(Scenario((board(0), board(1))))
    with (
        Collector(folder, *QUICK, *settings) as collector,
        Agent(folder, collector.grpc, *pace, more_environment=nvml.environment) as agent,
    ):
        yield collector, agent


def board(number: int) -> Device:
    """Its energy counter runs, as that of any board that is alive."""
    idle = h100(number)
    return Device(
        uuid=idle.uuid, serial=idle.serial, minor=idle.minor, pci_bus=idle.pci_bus, energy_since_s=time.monotonic()
    )


def wait_for_phase(collector: Collector, uuid: str, phase: str) -> api.Device:
    """The device, once it is in that phase."""
    until(lambda: phase_of(collector, uuid) == phase, f"{uuid} is {phase}")
    return collector.devices()[uuid]


def phase_of(collector: Collector, uuid: str) -> str:
    device = collector.devices().get(uuid)
    return device.phase if device else ""


def test_a_board_is_idle_after_the_window_and_not_from_the_moment_it_works(tmp_path: Path, nvml: Simulator) -> None:
    with watched(tmp_path, nvml) as (collector, _):
        first = wait_for_phase(collector, FIRST, "idle")
        wait_for_phase(collector, SECOND, "idle")
        assert (first.vendor, first.model, first.node) == ("nvidia", "NVIDIA H100 80GB HBM3", "n1")
        assert (first.freshness, first.health, first.confidence) == ("live", "ok", "high")
        assert first.power_watts == pytest.approx(68.12)
        assert first.utilization_ratio == 0
        assert first.processes == 0
        assert idle_boards(collector) == 2

        nvml.change(0, **BUSY)
        first = wait_for_phase(collector, FIRST, "unmanaged")
        assert first.power_watts == pytest.approx(650.25)
        assert {"active", "process_present", "memory_held"} <= set(first.reasons)
        assert idle_boards(collector) == 1
        assert phase_of(collector, SECOND) == "idle"
        assert "process" in collector.fallow("explain", FIRST)

        nvml.change(0, **DONE)
        wait_for_phase(collector, FIRST, "idle")
        assert {round(row[1], 2) for row in history(collector, FIRST, "power_watts")} == {68.12, 650.25}


def idle_boards(collector: Collector) -> int:
    """As `fallow capacity` counts them."""
    groups = collector.fallow_json("capacity", "--class", "intelligent", status=0)["groups"]
    return sum(group["idle"] for group in groups)


def history(collector: Collector, uuid: str, column: str) -> list[list[float]]:
    """[time, value] of each row, as `fallow history` has them."""
    answer = collector.fallow_json("history", uuid, "--columns", column, "--start", "10m", "--step", "0")
    assert answer["columns"] == ["time", column]
    rows: list[list[float]] = answer["rows"]
    return rows


def test_a_board_that_fell_off_the_bus_is_faulty_and_its_neighbour_is_still_offered(
    tmp_path: Path, nvml: Simulator
) -> None:
    with watched(tmp_path, nvml) as (collector, _):
        wait_for_phase(collector, FIRST, "idle")
        wait_for_phase(collector, SECOND, "idle")
        nvml.change(0, faults={"*": 15})  # NVML_ERROR_GPU_IS_LOST
        first = wait_for_phase(collector, FIRST, "faulty")
        assert first.reasons[0] == "device_lost"
        assert first.power_watts is None
        assert idle_boards(collector) == 1


def asked(nvml: Simulator) -> dict[str, int]:
    """Calls of the library, without those that wait for events: the stuck process goes on with them."""
    return {name: calls for name, calls in nvml.calls().items() if "EventSetWait" not in name}


def test_a_driver_that_hangs_takes_its_boards_out_of_the_count_and_nothing_else(
    tmp_path: Path, nvml: Simulator
) -> None:
    with watched(tmp_path, nvml) as (collector, agent):
        wait_for_phase(collector, FIRST, "idle")
        nvml.change(0, faults={"*": Hang()})
        try:
            first = wait_for_phase(collector, FIRST, "unknown")
            assert first.reasons[0] == "reader_stuck"
            assert phase_of(collector, SECOND) == "unknown"
            assert reader_states(collector) == STUCK
            host = next(device for device in collector.devices().values() if device.device_class == "general")
            assert host.freshness == "live"
            assert collector.fallow_json("capacity", "--class", "intelligent", status=3)["groups"][0]["idle"] == 0

            # A new agent starts although the old one's reader is still stuck, and leaves that driver alone.
            stuck = psutil.Process(int((agent.locks / "reader-nvidia.lock").read_text()))
            before = asked(nvml)
            assert agent.stop() == 0
            agent.start()
            until(lambda: reader_states(collector) == STUCK, "the new agent says so too")
            assert stuck.is_running()
            assert asked(nvml) == before
        finally:
            nvml.change(0, faults={})
        wait_for_phase(collector, FIRST, "idle")
        until(lambda: not stuck.is_running(), "the old reader ends when its driver lets go of it")


def reader_states(collector: Collector) -> dict[str, str]:
    node = collector.node("n1")
    return {reader.name: reader.state for reader in node.readers} if node and node.connected else {}


def test_after_kill_9_of_the_collector_quiet_boards_are_offered_on_what_they_did_meanwhile(
    tmp_path: Path, nvml: Simulator
) -> None:
    # At the usual pace a busy machine that runs these tests is less likely to tear the evidence.
    with watched(tmp_path, nvml, pace=()) as (collector, _):
        wait_for_phase(collector, FIRST, "idle")
        wait_for_phase(collector, SECOND, "idle")
        until(lambda: history(collector, FIRST, "power_watts"), "the store has rows")
        collector.kill()
        killed = time.time()
        nvml.change(1, **BUSY)
        wait_for_reads(nvml, 8)
        nvml.change(1, **DONE)
        wait_for_reads(nvml, 2)
        restarted = time.time()
        collector.start()

        wait_for_phase(collector, FIRST, "idle")
        assert window_began(collector, FIRST) < rfc3339(killed)
        wait_for_phase(collector, SECOND, "idle")
        assert window_began(collector, SECOND) > rfc3339(killed)

        rows = until(lambda: history_after(collector, SECOND, restarted), "what came after the restart is stored")
        assert len({row[0] for row in rows}) == len(rows)
        meanwhile = [round(row[1], 2) for row in rows if killed < row[0] < restarted]
        assert len(meanwhile) >= 9  # of ten reads, the last may not be a report yet
        assert set(meanwhile) == {68.12, 650.25}


def window_began(collector: Collector, uuid: str) -> str:
    predicates = collector.fallow_json("explain", uuid)["predicates"]
    return next(str(rule["since"]) for rule in predicates if rule["name"] == "window")


def wait_for_reads(nvml: Simulator, times: int) -> None:
    """Until the agent has read each board so many times more."""
    def reads() -> int:
        return nvml.calls().get("nvmlDeviceGetUtilizationRates", 0)

    enough = reads() + 2 * times
    until(lambda: reads() >= enough, f"the agent reads its boards {times} times")


def history_after(collector: Collector, uuid: str, moment: float) -> list[list[float]]:
    """Power once there is a row later than that. Reports come and are stored in their order."""
    rows = history(collector, uuid, "power_watts")
    return rows if rows and rows[-1][0] > moment else []


def rfc3339(unix_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(unix_s)) + f"{int(unix_s % 1 * 1000):03}Z"


@pytest.mark.server("victoria-metrics")
def test_victoria_metrics_answers_in_promql_what_the_board_said(tmp_path: Path, nvml: Simulator) -> None:
    victoria = victoria_metrics(tmp_path)
    victoria.start()
    try:
        with watched(
            tmp_path, nvml,
            'store.kind = "influx"', f'store.influx.url = "{victoria.url}"', 'store.influx.query = "promql"',
            "store.influx.settle_s = 2",
        ) as (collector, agent):
            wait_for_phase(collector, FIRST, "idle")
            query = f'device_power_watts{{uuid="{FIRST}"}}'
            [found] = until(lambda: promql(victoria.url, query), "VictoriaMetrics has the board's power")
            assert round(float(found["value"][1]), 2) == 68.12
            labels = {"site": "default", "node": "n1", "vendor": "nvidia", "class": "intelligent"}
            assert labels.items() <= found["metric"].items()
            assert found["metric"]["model"] == "NVIDIA H100 80GB HBM3"
            rows = until(lambda: history(collector, FIRST, "power_watts"), "history comes out of VictoriaMetrics")
            assert {round(row[1], 2) for row in rows} == {68.12}

            agent.stop()
            stopped = time.time()
            until(lambda: metric(collector, "fallow_store_unsettled_spans") == 0, "all that came has settled")
            agent.start()
            until(lambda: (node := collector.node("n1")) and node.connected, "the agent is back")
            wait_for_reads(nvml, 1)
            agent.stop()
            assert oldest_in_spool(tmp_path) > stopped - 2  # its very last words may have been cut off
    finally:
        victoria.stop()


def metric(collector: Collector, name: str) -> float:
    text = httpx.get(f"{collector.url}/metrics", trust_env=False).raise_for_status().text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))


def oldest_in_spool(folder: Path) -> float:
    """When the first report was made that a stopped agent still keeps, unix seconds; infinity: it keeps none."""
    with closing(sqlite3.connect(folder / "agent" / "spool.sqlite")) as spool:
        oldest = spool.execute("SELECT min(time_ms) FROM report").fetchone()[0]
    return float("inf") if oldest is None else oldest / 1000


def promql(url: str, query: str) -> list[dict[str, Any]]:
    """An instant query. VictoriaMetrics hides the newest 30 s unless told otherwise."""
    answer = httpx.get(
        f"{url}/api/v1/query", params={"query": query, "latency_offset": "1ms", "nocache": "1"}, trust_env=False
    )
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
    return found
