"""The real Slurm as a ledger: its jobs' devices are leased, its silence makes them unknown, its nodes are drained."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from fallow_client.client import Client
from fallow_client.slurm import drain, sync
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, IDLE
from tests.e2e.programs import BIN, Collector, Program, environment, until
from tests.e2e.slurm import GPUS, NODES, Slurm
from tests.e2e.spoken import SpokenNode, spoken

pytestmark = pytest.mark.server("slurmctld", "slurmd", "scontrol", "munged", "ip")

QUICK = (
    "idle.confirm_s = 3", "idle.confirm_readings = 3", "idle.confirm_after_release_s = 1", "idle.unmanaged_s = 1",
    "idle.ledger_stale_s = 4",
)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with Slurm() as cluster:
        yield cluster


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with Collector(tmp_path, *QUICK) as program:
        yield program


@pytest.fixture
def nodes(collector: Collector) -> Iterator[list[SpokenNode]]:
    with spoken(collector.grpc, GPUS, *NODES) as spoken_nodes:
        yield spoken_nodes


def adapter(folder: Path, slurm: Slurm, collector: Collector, *more: str) -> Program:
    return Program(
        folder, "fallow", "slurm", "sync", *more, more_environment={**slurm.environment, "FALLOW_URL": collector.url}
    )


def phases(collector: Collector, node: str) -> str:
    """Of each of its devices by minor, as the first letters."""
    devices = [device for device in collector.devices().values() if device.node == node]
    return "".join(device.phase[:2] for device in sorted(devices, key=lambda one: one.minor or 0))


def once(slurm: Slurm, collector: Collector, *more: str) -> str:
    done = subprocess.run(
        [str(BIN / "fallow"), "slurm", "sync", "--once", *more], capture_output=True, text=True, timeout=60,
        env=environment(**slurm.environment, FALLOW_URL=collector.url), check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_job_s_devices_are_leased_until_it_ends_and_the_adapter_s_death_makes_all_unknown(
    tmp_path: Path, slurm: Slurm, collector: Collector, nodes: list[SpokenNode]
) -> None:
    with adapter(tmp_path, slurm, collector, "--every", "1") as syncing:
        until(lambda: phases(collector, "node0") == 8 * "id", "all are idle")
        job = slurm.submit("node0", 3)
        nodes[0].readings[:3] = [dict(BUSY)] * 3
        until(lambda: phases(collector, "node0") == 3 * "le" + 5 * "id", "three are leased")
        assert phases(collector, "node1") == 8 * "id"
        leased = collector.devices()["node0-gpu0"]
        assert (leased.ledger, leased.allocation) == ("slurm", "leased")
        assert "leased" in leased.reasons

        refused = httpx.post(
            f"{collector.url}/api/v1/leases", json={"devices": ["node0-gpu7"], "holder": "me"}, trust_env=False
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "owned_by_scheduler")

        slurm.cancel(job)
        nodes[0].readings[:3] = [dict(IDLE)] * 3
        until(lambda: phases(collector, "node0") == 8 * "id", "they are idle again")

        syncing.kill()
        until(lambda: phases(collector, "node0") + phases(collector, "node1") == 16 * "un", "all are unknown")
        assert collector.devices()["node1-gpu5"].reasons == ["ledger_stale"]
        syncing.start()
        until(lambda: phases(collector, "node1") == 8 * "id", "Slurm speaks again")


def test_a_restarted_collector_offers_no_device_of_slurm_before_slurm_has_spoken(
    slurm: Slurm, collector: Collector
) -> None:
    with spoken(collector.grpc, GPUS, *NODES):
        once(slurm, collector)
        until(lambda: "un" in phases(collector, "node0"), "the ledger is stale")
    collector.stop()
    collector.start()
    with spoken(collector.grpc, GPUS, *NODES):
        until(lambda: collector.devices()["node0-gpu0"].occupancy == "confirmed", "the evidence is complete")
        assert phases(collector, "node0") == 8 * "un"
        assert collector.devices()["node0-gpu0"].ledger == "slurm"
        once(slurm, collector)
        assert phases(collector, "node0") == 8 * "id"


def test_a_node_with_a_faulty_device_is_drained_and_only_our_own_drain_is_lifted(
    slurm: Slurm, collector: Collector, nodes: list[SpokenNode]
) -> None:
    once(slurm, collector)
    until(lambda: "id" in phases(collector, "node0") + phases(collector, "node1"), "devices are judged")
    slurm.run("scontrol", "update", "nodename=node1", "state=drain", "reason=fan is loud")
    nodes[0].reasons[4] = pb.REASON_LOST
    until(lambda: collector.devices()["node0-gpu4"].health == "failed", "it is faulty")
    once(slurm, collector)
    assert "DRAIN" not in slurm.node("node0")  # without --drain nothing is touched

    def drained() -> bool:
        once(slurm, collector, "--drain")
        return "Reason=fallow: device minor 4 is faulty: device_lost" in slurm.node("node0")

    until(drained, "node0 is drained with our reason")

    nodes[0].reasons[4] = pb.REASON_OK

    def resumed() -> bool:
        once(slurm, collector, "--drain")
        return "DRAIN" not in slurm.node("node0")

    until(resumed, "node0 is resumed")
    assert "Reason=fan is loud" in slurm.node("node1")
    slurm.run("scontrol", "update", "nodename=node1", "state=resume")


def test_runs_of_cron_together_drain_no_more_than_one_may(
    slurm: Slurm, collector: Collector, nodes: list[SpokenNode]
) -> None:
    for node in nodes:
        node.reasons[0] = pb.REASON_LOST
    faulty = {f"{node}-gpu0" for node in NODES}
    until(
        lambda: faulty <= {each.uuid for each in collector.devices().values() if each.health == "failed"},
        "two are faulty",
    )

    def drained() -> int:
        once(slurm, collector, "--drain")
        return sum("DRAIN" in slurm.node(node) for node in NODES)

    until(lambda: drained() == 1, "one node is drained")
    assert [drained() for _ in range(3)] == [1, 1, 1]
    for node in nodes:
        node.reasons[0] = pb.REASON_OK
    until(lambda: drained() == 0, "it is resumed")


def test_a_node_whose_device_works_without_a_job_is_drained_after_two_minutes(
    slurm: Slurm, collector: Collector, nodes: list[SpokenNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    once(slurm, collector)
    until(lambda: "id" in phases(collector, "node0"), "devices are judged")
    nodes[0].readings[3] = dict(BUSY)

    def unmanaged() -> bool:
        once(slurm, collector)
        return collector.devices()["node0-gpu3"].phase == "unmanaged"

    until(unmanaged, "a stranger works on node0")
    with Client(collector.url) as client:
        found = sync.read()
        sync.put(client, found)
        facts = sync.Drainer().facts(client, found)
    assert drain.plan(facts).actions == []
    later = replace(facts, suspects=[(device, for_s + drain.UNMANAGED_S) for device, for_s in facts.suspects])
    for action in drain.plan(later).actions:
        sync.perform(action)
    assert "Reason=fallow: device minor 3 is in use and no job has it: active" in slurm.node("node0")
    assert "DRAIN" not in slurm.node("node1")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "%H:%M")  # a user's own does not reach what is read
    drained = next(node for node in sync.read().nodes if node.name == "node0")
    assert drain.lately([drained], drained.reason_user, datetime.now().astimezone() + timedelta(hours=1)) == set()
    slurm.run("scontrol", "update", "nodename=node0", "state=resume")
