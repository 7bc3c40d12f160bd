"""What the API is told, out of live state."""

from pathlib import Path

import pytest

from fallow_collector.answers.live import Live
from fallow_collector.api.answers import Asked, Refused, Unavailable, Unknown, Where
from fallow_collector.fit.members import Directory
from fallow_collector.idle import phase
from fallow_collector.state import EventRow, State
from fallow_collector.stores.store import HistoryQuery, StoreError, Table
from fallow_collector.view import View
from fallow_proto import api
from fallow_proto.states import Allocation
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.memory_store import MemoryStore
from tests.collector.watching import BUSY, GIB, HOLDING, HOST, IDLE, NAN, Watched, device


class Site:
    """A node with an idle, a held and a low-confidence device and its CPUs, and the answers about it."""

    def __init__(self, folder: Path) -> None:
        self.node = Watched(
            device("g0"), device("g1"), device("g2", vendor="amd", model="MI300X", unsupported=["processes"]),
            device("h0", device_class="general", vendor="intel", model="Xeon"),
        )
        self.state = State(folder)
        self.view = View(
            self.node.fleet, self.node.engine, lambda: self.node.now, lambda: self.node.now + self.node.WALL
        )
        self.live = Live(
            self.node.fleet, self.node.engine, self.view, self.state, MemoryStore(), list, list,
            Directory(self.node.fleet),
        )
        self.pass_time(130)

    def pass_time(self, seconds: float) -> None:
        self.node.stays(seconds, IDLE, HOLDING, {**IDLE, "processes": NAN}, HOST)


@pytest.fixture
def site(tmp_path: Path) -> "Site":
    made = Site(tmp_path)
    yield made  # type: ignore[misc]
    made.state.close()


def groups(capacity: api.Capacity) -> dict[str, api.Group]:
    return {group.model: group for group in capacity.groups}


def test_capacity_counts_by_group_and_says_how_old_and_how_complete(site: Site) -> None:
    found = site.live.capacity(Where())
    by_model = groups(found)
    a100, mi300x, xeon = by_model["NVIDIA A100-SXM4-80GB"], by_model["MI300X"], by_model["Xeon"]
    assert (a100.idle, a100.unmanaged, a100.slots) == (1, 1, {"1": 1, "2": 0, "4": 0, "8": 0})
    assert (mi300x.idle, mi300x.idle_low_confidence) == (0, 1)
    assert (xeon.idle, xeon.idle_cores, xeon.available_memory_bytes) == (1, 63.5, 500 * GIB)
    assert (found.complete, found.incomplete_by, found.max_age_ms) == (True, {}, 0)
    assert found.as_of.endswith("Z")


def test_silence_makes_capacity_incomplete_and_idle_devices_unavailable(site: Site) -> None:
    site.node.misses(6)
    found = site.live.capacity(Where(device_class=("intelligent",)))
    assert (found.complete, found.incomplete_by, found.max_age_ms) == (False, {"stale": 3}, None)
    assert groups(found)["NVIDIA A100-SXM4-80GB"].unavailable_by == {"stale": 2}


def test_a_reader_that_may_hide_devices_makes_the_view_incomplete(site: Site) -> None:
    site.node.hello(readers=[pb.Reader(name="ascend", state="stuck", since_ms=1, message="no answer")])
    assert site.live.capacity(Where()).incomplete_by == {"reader_unusable": 1}
    assert not site.live.devices(Where(), 10, None).complete
    assert not site.live.nodes(Where(), 10, None).complete


def test_the_revision_rises_when_a_phase_changes_and_only_then(site: Site) -> None:
    first = site.live.capacity(Where())
    site.pass_time(1)
    assert site.live.capacity(Where()).revision == first.revision
    site.node.stays(1, BUSY, HOLDING, {**IDLE, "processes": NAN}, HOST)
    after = site.live.capacity(Where())
    assert (after.revision, after.epoch) == (first.revision + 1, first.epoch)
    assert site.live.device("g0").device.since == after.as_of


def test_a_declared_device_that_nobody_sees_is_absent_until_it_is_retired(site: Site) -> None:
    made = [api.Declared(uuid="g0"), api.Declared(uuid="x9", site="s1", node="n7", vendor="nvidia", model="H100")]
    assert site.live.declare(api.Declaration(devices=made)) == api.DeclarationResult(declared=2, already=0)
    assert site.live.declare(api.Declaration(devices=made[:1])) == api.DeclarationResult(declared=0, already=1)
    found = site.live.capacity(Where())
    assert (found.complete, found.incomplete_by) == (False, {"absent": 1})
    h100 = groups(found)["H100"]
    assert (h100.declared, h100.seen, h100.absent) == (1, 0, 1)
    assert groups(found)["NVIDIA A100-SXM4-80GB"].declared == 1
    assert {row.uuid: row.declared for row in site.state.load_seen()} == {"g0": True, "x9": True}
    site.live.retire("x9")
    assert site.live.capacity(Where()).complete
    with pytest.raises(Unknown, match="there is no device x9"):
        site.live.device("x9")


def test_a_device_that_was_released_and_never_came_back_can_be_retired_and_a_leased_one_cannot(site: Site) -> None:
    retired: list[str] = []
    fleet = site.node.fleet
    live = Live(
        fleet, site.node.engine, site.view, site.state, MemoryStore(), list, list, Directory(fleet),
        holder_of=lambda row: "job 1 of alice", retired=retired.append,
    )
    fleet.present[0] = False
    fleet.allocation[0] = phase.ALLOCATIONS.index(Allocation.LEASED)
    site.view.refresh()
    (owner,) = (rule for rule in live.explain("g0").predicates if rule.name == "owner")
    assert owner.value == "leased by job 1 of alice, in ledger fallow"
    with pytest.raises(Refused, match="of a lease that has not ended"):
        live.retire("g0")
    fleet.allocation[0] = phase.ALLOCATIONS.index(Allocation.RELEASING)
    live.retire("g0")
    assert (retired, fleet.find("g0")) == (["g0"], None)


def test_a_device_that_is_seen_cannot_be_retired(site: Site) -> None:
    with pytest.raises(Refused, match="only an absent device can be retired"):
        site.live.retire("g0")


def test_a_site_may_declare_its_hosts_a_supercomputer(site: Site) -> None:
    site.live.declare(api.Declaration(devices=[api.Declared(uuid="h0", device_class="super")]))
    assert groups(site.live.capacity(Where()))["Xeon"].device_class == "super"


def test_devices_come_by_pages_in_the_order_of_their_uuids(site: Site) -> None:
    first = site.live.devices(Where(), 3, None)
    assert ([d.uuid for d in first.items], first.next) == (["g0", "g1", "g2"], "g2")
    second = site.live.devices(Where(), 3, first.next)
    assert ([d.uuid for d in second.items], second.next) == (["h0"], None)


@pytest.mark.parametrize(("where", "uuids"), [
    (Where(vendor=("amd", "intel")), ["g2", "h0"]),
    (Where(device_class=("general",)), ["h0"]),
    (Where(phase=("idle",)), ["g0", "g2", "h0"]),
    (Where(site=("elsewhere",)), []),
    (Where(node=("n1",), model=("MI300X",)), ["g2"]),
])
def test_devices_are_filtered(site: Site, where: Where, uuids: list[str]) -> None:
    assert [d.uuid for d in site.live.devices(where, 100, None).items] == uuids


def test_a_device_shows_what_is_known_and_null_for_the_rest(site: Site) -> None:
    g2 = site.live.device("g2").device
    assert (g2.phase, g2.confidence, g2.reasons) == ("idle", "low", ["processes_unsupported"])
    assert (g2.processes, g2.power_watts, g2.memory_bandwidth_active_ratio) == (None, 60.0, None)
    assert g2.memory_utilization_ratio == pytest.approx(0.0075)


def test_a_device_shows_its_baseline_and_what_happened_to_it(site: Site) -> None:
    site.state.record([
        EventRow("n1", "e1", "i", 1, "device_vanished", "g0", 2, 1000, 2500, "gone"),
        EventRow("n1", "e1", "j", 2, "xid", "g0", 1, 900, 900, "GPU has fallen off the bus", 79, "kernel"),
    ])
    detail = site.live.device("g0")
    assert (detail.baseline.floor_watts, detail.baseline.floor_source) == (82.5, "prior")
    assert (detail.baseline.base_memory_bytes, detail.baseline.base_source) == (pytest.approx(0.6 * GIB), "learned")
    assert [(e.kind, e.count, e.last, e.code, e.source) for e in detail.events] == [
        ("device_vanished", 2, "1970-01-01T00:00:02.500Z", None, None),
        ("xid", 1, "1970-01-01T00:00:00.900Z", 79, "kernel"),
    ]


def test_explain_names_each_rule_with_value_threshold_and_what_would_help(site: Site) -> None:
    idle, held = site.live.explain("g0"), site.live.explain("g1")
    assert all(p.holds for p in idle.predicates)
    failing = {p.name: (p.value, p.threshold, p.next) for p in held.predicates if not p.holds}
    assert failing == {
        "memory": (
            "20,480 MiB",
            "not known yet (no base yet: at most 4,915 MiB is taken for one, [idle] base_memory_max_ratio)",
            "what is normal for the device is learned",
        ),
        "processes": ("1", "at most 0", "it falls below"),
        "window": (
            "not quiet and clean", "60 s and 10 readings ([idle] confirm_s)",
            "it becomes quiet and clean, and stays so",
        ),
    }


@pytest.mark.parametrize("uuid", ["g0", "g1", "g2", "h0"])
def test_a_device_is_idle_exactly_when_every_rule_holds(site: Site, uuid: str) -> None:
    for _ in range(3):
        explained = site.live.explain(uuid)
        assert (explained.phase == "idle") == all(p.holds for p in explained.predicates)
        site.node.misses(4)


def test_a_baseline_is_accepted_only_from_a_fresh_and_unused_device(site: Site) -> None:
    with pytest.raises(Refused, match="in use by 1 processes"):
        site.live.accept_baseline("g1")
    accepted = site.live.accept_baseline("g0")
    assert (accepted.floor_watts, accepted.floor_source, accepted.base_source) == (60.0, "accepted", "accepted")
    assert site.live.accept_baseline("h0").base_memory_bytes == HOST["memory_usage_bytes"]  # no processes count there
    site.node.stays(1, {**IDLE, "processes": NAN}, {**IDLE, "utilization_ratio": 0.9}, IDLE, HOST)
    with pytest.raises(Refused, match="processes on g0 cannot be read"):
        site.live.accept_baseline("g0")
    with pytest.raises(Refused, match="g1 is at work"):
        site.live.accept_baseline("g1")
    site.node.misses(10)
    with pytest.raises(Refused, match="no fresh reading"):
        site.live.accept_baseline("g0")


def test_nodes_say_how_they_are(site: Site) -> None:
    [node] = site.live.nodes(Where(), 10, None).items
    assert (node.node, node.freshness, node.connected, node.devices) == ("n1", "live", True, 4)
    assert node.phases == {"idle": 3, "unmanaged": 1}
    assert node.clock_skew_s == pytest.approx(0.0, abs=0.01)
    assert node.spool_dropped is None, "an older agent does not say"
    site.node.hello(spool_dropped=3)
    assert site.live.nodes(Where(), 10, None).items[0].spool_dropped == 3
    site.node.fleet.gone("n1", site.node.now)
    site.node.misses(40)
    [node] = site.live.nodes(Where(), 10, None).items
    assert (node.freshness, node.connected) == ("lost", False)


def test_prometheus_text_has_a_family_a_metric_and_leaves_out_what_is_not_known(site: Site) -> None:
    text = b"".join(site.live.device_metrics(Where())).decode()
    assert text.count("# TYPE device_power_watts gauge\n") == 1
    labels = 'site="s1",node="n1",uuid="g0",vendor="nvidia",model="NVIDIA A100-SXM4-80GB",class="intelligent"'
    assert f"device_power_watts{{{labels}}} 60.0\n" in text
    assert f'device_phase{{{labels},phase="idle"}} 1.0\n' in text
    assert 'device_processes{site="s1",node="n1",uuid="g2"' not in text
    assert b"".join(site.live.device_metrics(Where(node=("n2",)))) == b""


class DownStore(MemoryStore):
    def history(self, query: HistoryQuery) -> Table:
        raise StoreError("connection refused")


def test_history_of_an_unknown_device_and_of_a_store_that_is_down(site: Site) -> None:
    with pytest.raises(Unknown, match="there is no device nope"):
        site.live.history(Asked("nope", ("power_watts",), 0, 1, 0))
    fleet = site.node.fleet
    down = Live(fleet, site.node.engine, site.view, site.state, DownStore(), list, list, Directory(fleet))
    with pytest.raises(Unavailable, match="connection refused"):
        down.history(Asked("g0", ("power_watts",), 0, 1, 0))
