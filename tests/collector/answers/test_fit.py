"""What dispatchers are told of a request, out of live state."""

import httpx
import msgspec
import pytest

from fallow_collector.answers.fit import Fitter
from fallow_collector.api.query import BadQuery
from fallow_collector.idle import phase
from fallow_collector.view import View
from fallow_proto import dispatch
from fallow_proto.dispatch import Request
from fallow_proto.states import Allocation
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.schema import faults
from tests.collector.api.served import served
from tests.collector.watching import BUSY, HOLDING, HOST, IDLE, NAN, Watched, device

LEASED, RESERVED = map(phase.ALLOCATIONS.index, (Allocation.LEASED, Allocation.RESERVED))
MI300X = {**IDLE, "processes": NAN}


class Site:
    """A node with three idle devices, one of them of low confidence, one held and one busy, and its CPUs."""

    def __init__(self) -> None:
        self.node = Watched(
            device("g0", index=3, pci_bus_id="0000:18:00.0"), device("g1", index=1), device("g2", index=2),
            device("g3", index=0), device("a0", vendor="amd", model="MI300X", unsupported=["processes"]),
            device("h0", device_class="general", vendor="intel", model="Xeon"),
        )
        self.fleet = self.node.fleet
        self.node.stays(130, IDLE, IDLE, HOLDING, BUSY, MI300X, HOST)
        self.view = View(self.fleet, self.node.engine, lambda: self.node.now, lambda: self.node.now + self.node.WALL)
        self.fitter = Fitter(self.fleet, self.view)

    def fit(self, **asked: object) -> dispatch.Fit:
        return self.fitter.fit(Request(**asked))  # type: ignore[arg-type]


@pytest.fixture
def site() -> Site:
    return Site()


def shorts(found: dispatch.Fit) -> dict[str, int]:
    return {short.reason: short.devices for short in found.short}


def test_a_placement_names_its_devices_and_the_age_of_the_evidence(site: Site) -> None:
    site.node.misses(1.5)
    found = site.fit(count=2)
    assert found.placement == dispatch.Placement(
        devices=[
            dispatch.Member(uuid="g1", node="n1", index=1, pci_bus_id=None),
            dispatch.Member(uuid="g0", node="n1", index=3, pci_bus_id="0000:18:00.0"),
        ],
        nodes=1, sites=["s1"], max_age_ms=1500, confidence="high", ledgers=["fallow"],
    )
    assert (found.fits, found.eligible, found.largest, found.nearest) == (True, 2, 2, [])
    assert (found.epoch, found.revision, found.complete) == (site.view.epoch, site.view.now().revision, True)


def test_what_does_not_fit_says_why_and_what_would(site: Site) -> None:
    found = site.fit(count=3)
    assert (found.fits, found.placement, found.eligible, found.largest) == (False, None, 2, 2)
    assert shorts(found) == {"active": 1, "process_present": 1, "low_confidence": 1}
    assert {short.of for short in found.short} == {5}
    assert [(miss.relax, miss.fits_at, miss.then) for miss in found.nearest] == [
        ("count", "2", 2), ("confidence", "low", 3),
    ]


def test_low_confidence_is_offered_only_to_who_asks_for_it(site: Site) -> None:
    found = site.fit(count=3, confidence="low").placement
    assert found is not None
    assert found.confidence == "low"


def test_a_model_that_is_not_there_is_answered_with_those_that_may_be_meant(site: Site) -> None:
    found = site.fit(model=["A100"], sites=["s9"])
    assert (found.eligible, shorts(found)) == (0, {"model": 5})
    (model,) = [miss for miss in found.nearest if miss.relax == "model"]
    assert model.asked == "A100 (there is no A100; did you mean NVIDIA A100-SXM4-80GB?)"
    assert model.fits_at is None


def test_a_model_spelled_nearly_right_fits_at_the_one_that_is_there(site: Site) -> None:
    assert [(miss.relax, miss.fits_at) for miss in site.fit(model=["A100-SXM4"]).nearest] == [
        ("model", "A100-SXM4,NVIDIA A100-SXM4-80GB"),
    ]


def test_a_class_without_devices_fits_nothing_and_says_so(site: Site) -> None:
    found = site.fit(device_class="super")
    assert (found.fits, found.eligible, found.short) == (False, 0, [])
    assert [(miss.relax, miss.fits_at, miss.then) for miss in found.nearest] == [("count", None, 0)]


def test_a_host_is_found_in_its_class(site: Site) -> None:
    found = site.fit(device_class="general").placement
    assert found is not None
    assert [member.uuid for member in found.devices] == ["h0"]


def test_a_device_reserved_since_the_snapshot_is_not_offered(site: Site) -> None:
    snapshot = site.view.now()
    site.fleet.allocation[0] = RESERVED
    found = site.fit(count=2)
    assert site.view.now() is snapshot
    assert (found.fits, found.largest) == (False, 1)
    assert shorts(found)["reserved"] == 1


def test_a_device_let_go_since_the_snapshot_is_not_offered_yet(site: Site) -> None:
    site.fleet.allocation[0] = LEASED
    site.view.refresh()
    site.fleet.allocation[0] = 0
    assert site.fit(count=2).largest == 1


def test_devices_of_a_scheduler_are_found_and_not_chosen(site: Site) -> None:
    site.fleet.ledgers.append("slurm")
    site.fleet.ledger[0] = 1
    site.view.refresh()
    placement = site.fit(count=2).placement
    assert placement is not None
    assert placement.ledgers == ["fallow", "slurm"]
    rows, found = site.fitter.choose(Request(count=2))
    assert (rows, found.fits, shorts(found)["owned_by_scheduler"]) == ([], False, 1)
    assert site.fitter.choose(Request(count=1))[0] == [1]


def test_silence_makes_the_answer_incomplete_and_offers_nothing(site: Site) -> None:
    site.node.misses(6)
    found = site.fit()
    assert (found.fits, found.complete, found.incomplete_by) == (False, False, {"stale": 5})
    assert shorts(found) == {"stale": 5}


def test_waiting_helps_when_devices_are_being_verified(site: Site) -> None:
    site.node.stays(10, IDLE, IDLE, IDLE, BUSY, MI300X, HOST)
    found = site.fit(count=3)
    assert shorts(found)["window"] == 1
    assert [(miss.relax, miss.fits_at) for miss in found.nearest[:1]] == [("wait", "verifying")]


def test_a_hello_with_another_rack_or_link_is_seen_at_once(site: Site) -> None:
    assert site.fit(count=2, same="rack").largest == 0
    site.node.hello(rack="r1")
    site.view.refresh()
    assert site.fit(count=2, same="rack").fits
    assert not site.fit(count=2, same="link").fits
    site.node.devices = tuple(
        pb.Device.FromString(one.SerializeToString()) for one in site.node.devices
    )
    for one in site.node.devices[:2]:
        one.link_domain = "l0"
    site.node.hello(rack="r1")
    site.view.refresh()
    assert site.fit(count=2, same="link").fits


def test_a_retired_device_is_not_counted(site: Site) -> None:
    site.fleet.present[3] = False
    assert {short.of for short in site.fit(count=3).short} == {5}
    site.fleet.retire(3)
    site.view.refresh()
    assert {short.of for short in site.fit(count=3).short} == {4}


def test_a_partitioned_device_is_not_counted_beside_its_partitions() -> None:
    node = Watched(
        device("g0"), device("m0", parent="g0", partition_profile="1g.10gb"),
        device("m1", parent="g0", partition_profile="1g.10gb"),
    )
    node.stays(130, IDLE, IDLE, IDLE)
    fitter = Fitter(node.fleet, View(node.fleet, node.engine, lambda: node.now, lambda: node.now))
    found = fitter.fit(Request())
    assert (found.eligible, shorts(found)) == (0, {"partition_profile": 2})
    assert fitter.fit(Request(count=2, partition_profile="1g.10gb")).fits


@pytest.mark.parametrize(("asked", "says"), [
    ({"count": 0}, "count is 0; expected 1 to 2147483647"),
    ({"count": -3}, "count is -3; expected 1 to 2147483647"),
    ({"count": 6, "per_node": 4}, "per_node is 4; expected 0 (any), or a number that divides count, which is 6"),
    ({"per_node": -1}, "per_node is -1"),
    ({"device_class": "gpu"}, "class is 'gpu'; expected one of intelligent, general, super"),
    ({"free_memory_bytes": -1}, "free_memory_bytes is -1"),
    ({"peak_flops": float("nan")}, "peak_flops is nan"),
    ({"power_headroom_watts": float("inf")}, "power_headroom_watts is inf"),
    ({"sites": ["a", "b"], "exclude_sites": ["b"]}, "sites and exclude_sites both name b"),
    ({"model": [str(n) for n in range(65)]}, "model has 65 words; expected at most 64"),
])
def test_a_request_that_nothing_could_answer_is_refused(site: Site, asked: dict[str, object], says: str) -> None:
    for ask in (site.fitter.fit, site.fitter.choose):
        with pytest.raises(BadQuery) as refused:
            ask(Request(**asked))  # type: ignore[arg-type]
        assert says in str(refused.value)


def test_the_route_answers_with_what_the_document_says(site: Site) -> None:
    with served(MemoryAnswers(), fit=site.fitter) as url, httpx.Client(base_url=url, trust_env=False) as http:
        document = http.get("/openapi.json").json()
        responses = document["paths"]["/api/v1/fit"]["post"]["responses"]
        for body, status in (
            ({"count": 2, "class": "intelligent"}, 200), ({"count": 20}, 200), ({"count": 0}, 400),
            ({"cuont": 1}, 400), ({"same": "planet"}, 400),
        ):
            answer = http.post("/api/v1/fit", json=body)
            assert answer.status_code == status, answer.text
            schema = responses[str(status)]["content"][answer.headers["content-type"]]["schema"]
            assert faults(answer.json(), schema, document) == []
        fits = msgspec.json.decode(http.post("/api/v1/fit", json={"count": 2}).content, type=dispatch.Fit)
        assert fits.placement is not None
        assert {member.uuid for member in fits.placement.devices} == {"g0", "g1"}
