"""Leases over real HTTP: the routes, who may call them, and the collector's process over a kill."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from fallow_collector.api.caller import ANYBODY, Caller
from fallow_collector.desk import Desk
from fallow_proto import dispatch
from fallow_proto.codec import layout_of
from fallow_proto.dispatch import Claim, Lease, Reserve
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.schema import faults
from tests.collector.api.served import served
from tests.collector.ingest.builders import EPOCH, NODE, hello
from tests.collector.program import PATIENCE_S, Agent, Program, running
from tests.collector.test_desk import Site

QUICK = "[idle]\nconfirm_s = 1.0\nconfirm_readings = 2\n"


class OnItsLoop:
    """A desk that is made where it is used first: on the server's own loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._desk: Desk | None = None

    @property
    def desk(self) -> Desk:
        if self._desk is None:
            site = Site(self._folder)
            site.stays(70)
            self._desk = site.desk
        return self._desk

    async def close(self) -> None:
        if self._desk is not None:
            await self._desk.close()

    async def reserve(self, wanted: Reserve, caller: str, sites: Sequence[str] = ()) -> Lease:
        return await self.desk.reserve(wanted, caller, sites)

    async def commit(self, lease_id: str, claim: Claim, caller: str) -> Lease:
        return await self.desk.commit(lease_id, claim, caller)

    async def renew(self, lease_id: str, claim: Claim, caller: str) -> Lease:
        return await self.desk.renew(lease_id, claim, caller)

    async def settle(self) -> None:
        await self.desk.settle()

    async def release(self, lease_id: str, claim: Claim, caller: str) -> Lease:
        return await self.desk.release(lease_id, claim, caller)

    def lease(self, lease_id: str, asking: Caller = ANYBODY) -> Lease:
        return self.desk.lease(lease_id, asking)

    def leases(self, holder: list[str], limit: int, cursor: str | None, asking: Caller = ANYBODY) -> Any:
        return self.desk.leases(holder, limit, cursor, asking)


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    leases = OnItsLoop(tmp_path)
    with served(MemoryAnswers(), leases=leases) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client
    asyncio.run(leases.close())


def test_a_lease_from_reservation_to_release(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    answer = http.post("/api/v1/leases", json={"request": {"count": 1}, "holder": "alice", "hold": True})
    held = answer.json()
    assert (answer.status_code, held["state"], held["holder"]) == (201, "reserved", "alice")
    assert faults(held, {"$ref": "#/components/schemas/Lease"}, document) == []
    path, claim = f"/api/v1/leases/{held['lease_id']}", {"fencing_token": held["fencing_token"]}
    leased = http.post(f"{path}/commit", json=claim).json()
    assert (leased["state"], leased["fenced"], leased["ttl_s"]) == ("leased", True, dispatch.LEASE_TTL_S)
    assert http.post(f"{path}/renew", json={**claim, "ttl_s": 50}).json()["expires_in_s"] == 50
    assert http.get("/api/v1/leases", params={"holder": "alice"}).json()["items"][0]["ttl_s"] == 50
    assert http.get("/api/v1/leases", params={"holder": "bob"}).json()["items"] == []
    assert http.post(f"{path}/release", json=claim).json()["state"] == "releasing"
    assert http.get(path).json()["expires_in_s"] is None


def test_faults_bear_their_code_and_devices(http: httpx.Client) -> None:
    assert http.post("/api/v1/leases", json={"devices": ["g0"]}).status_code == 201
    again = http.post("/api/v1/leases", json={"devices": ["g0", "g1"]})
    assert (again.status_code, again.json()["code"], again.json()["uuids"]) == (409, "not_idle", ["g0"])
    none = http.post("/api/v1/leases/lease-1/renew", json={"fencing_token": 1})
    assert (none.status_code, none.json()["code"]) == (404, "lease_not_found")
    bad = http.post("/api/v1/leases", json={"devices": ["g1"], "ttl_s": 1e9})
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_ttl")
    many = http.post("/api/v1/leases", json={"request": {"count": 50}})
    assert (many.status_code, many.json()["code"]) == (409, "no_capacity")


@pytest.mark.parametrize(("body", "headers", "detail"), [
    ({}, {}, "expected either request or devices"),
    ({"request": {}, "devices": ["g0"]}, {}, "expected either request or devices"),
    ({"devices": ["g0", "g0"]}, {}, "is there twice"),
    ({"devices": ["g0"], "key": "a"}, {"Idempotency-Key": "b"}, "differ"),
    ({"devices": ["g0"], "holder": "a\nb"}, {}, "printable"),
    ({"devices": ["g0"], "ttl": 5}, {}, "ttl"),
])
def test_what_makes_no_sense_is_refused_with_what_is_expected(
    http: httpx.Client, body: dict[str, Any], headers: dict[str, str], detail: str
) -> None:
    answer = http.post("/api/v1/leases", json=body, headers=headers)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


def test_the_header_is_the_same_as_the_key(http: httpx.Client) -> None:
    first = http.post("/api/v1/leases", json={"devices": ["g0"]}, headers={"Idempotency-Key": "k"}).json()
    second = http.post("/api/v1/leases", json={"devices": ["g0"], "key": "k"}).json()
    assert first["lease_id"] == second["lease_id"]


GAUGES = {"utilization_ratio": 0.0, "power_watts": 60.0, "power_limit_watts": 400.0, "memory_usage_bytes": 4e8,
          "memory_limit_bytes": 8e10, "processes": 0.0}
LAYOUT = layout_of([pb.Block(
    reader="nvidia", group="fast", interval_s=1.0, devices=[f"{NODE}-gpu-0", f"{NODE}-gpu-1"], gauges=list(GAUGES),
)])


def quiet(seq: int) -> pb.FromAgent:
    """A report, made now, of two devices that do nothing."""
    readings = [pb.Readings(block=0, gauges=[*GAUGES.values()] * 2)]
    made = pb.Report(seq=seq, previous=seq - 1, time_ms=int(time.time() * 1000), readings=readings)
    return pb.FromAgent(reports=pb.Reports(epoch=EPOCH, layout=LAYOUT.hash, lane=pb.LANE_JUDGED, reports=[made]))


def until_leased(program: Program, agent: Agent) -> dict[str, Any]:
    """A lease of one device, as soon as one is idle."""
    deadline = time.monotonic() + PATIENCE_S
    seq = 0
    while True:
        seq += 1
        agent.say(quiet(seq))
        answer = httpx.post(
            f"http://{program.http}/api/v1/leases", json={"request": {"count": 1}, "key": "k"}, timeout=PATIENCE_S
        )
        if answer.status_code == 201:
            leased: dict[str, Any] = answer.json()
            return leased
        assert answer.json()["code"] == "no_capacity", answer.text
        assert time.monotonic() < deadline, f"no device became idle: {answer.text}"
        time.sleep(0.1)


def test_a_lease_is_fenced_by_its_agent_and_outlives_a_kill_of_the_collector(tmp_path: Path) -> None:
    program = Program(tmp_path, QUICK)
    with running(program):
        with contextlib.closing(Agent(program.grpc)) as agent:
            agent.say(hello(), pb.FromAgent(layout=LAYOUT))
            agent.hear("welcome")
            lease = until_leased(program, agent)
            assert lease["fenced"] is False  # this agent has said nothing
            (fence,) = agent.hear("fence").fence.fences
            assert (fence.token, fence.held, fence.lease_id) == (lease["fencing_token"], True, lease["lease_id"])
            agent.say(pb.FromAgent(fenced=pb.Fenced(fences=[fence])))
            deadline = time.monotonic() + PATIENCE_S
            while not program.get(f"/api/v1/leases/{lease['lease_id']}").json()["fenced"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        program.stop(signal.SIGKILL)
    with running(program):
        (device,) = lease["devices"]
        assert program.get(f"/api/v1/devices/{device['uuid']}").json()["device"]["phase"] == "leased"
        again = program.get(f"/api/v1/leases/{lease['lease_id']}").json()
        assert (again["fencing_token"], again["devices"][0]["node"]) == (lease["fencing_token"], NODE)
        with contextlib.closing(Agent(program.grpc)) as agent:
            agent.say(hello())
            assert agent.hear("fence").fence.fences[0].token == lease["fencing_token"]
        assert program.stop() == 0
