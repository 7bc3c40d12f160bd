"""What rules look at: what is not known is null, and what was taken stays as it was."""

import math
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from fallow_collector.alerts.schema import TABLES, Type
from fallow_collector.certificate import Validity
from fallow_collector.idle.phase import SERVICES
from fallow_proto import dispatch
from fallow_proto.states import Service
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.facts.taking import ALL, Site
from tests.collector.health.clinic import FULL
from tests.collector.health.told import event
from tests.collector.watching import BUSY, device

WORKING = {**FULL, **BUSY}
ARROW = {Type.NUMBER: pa.float64(), Type.TEXT: pa.string(), Type.TRUTH: pa.bool_()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_every_column_of_every_table_is_made_and_of_the_type_that_is_said(site: Site) -> None:
    site.tell(event(95, site.ms()))
    site.imports.take("slurm", dispatch.LedgerImport(age_s=0.0, nodes=[], jobs=[]), site.node.now, site.wall)
    taken = site.take()
    assert taken.keys() == TABLES.keys()
    for name, table in TABLES.items():
        for column in table.columns.values():
            kind = taken[name].column(column.name).type
            assert (kind.value_type if pa.types.is_dictionary(kind) else kind) == ARROW[column.type], (name, column)
    assert site.taker.failures == 0


def test_a_fleet_without_anything_has_tables_all_the_same(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for row in range(2):
        site.node.fleet.present[row] = False
        site.node.fleet.retire(row)
    site.node.fleet.gone("n1", site.node.now)
    lengths = {name: facts.length for name, facts in site.take().items()}
    assert lengths == {"device": 0, "node": 0, "reader": 0, "incident": 0, "group": 0, "ledger": 0, "collector": 1}
    assert all(site.rows(name) == [] for name in TABLES if name != "collector")


def test_a_device_is_told_in_the_words_of_the_api(site: Site) -> None:
    site.stays(130)
    site.stays(40, FULL, WORKING)
    idle, busy = site.rows("device")
    assert {name: idle[name] for name in ("uuid", "node", "site", "vendor", "model", "class", "ledger")} == {
        "uuid": "g0", "node": "n1", "site": "s1", "vendor": "nvidia", "model": "NVIDIA A100-SXM4-80GB",
        "class": "intelligent", "ledger": "fallow",
    }
    assert (idle["phase"], busy["phase"], busy["occupancy"]) == ("idle", "unmanaged", "active")
    assert (idle["freshness"], idle["health"], idle["allocation"], idle["service"]) == (
        "live", "ok", "free", "in_service"
    )
    assert (idle["power_watts"], busy["power_watts"]) == (60.0, 390.0)
    assert (idle["reason_active"], busy["reason_active"]) == (False, True)
    assert idle["temperature_celsius"] is None
    assert idle["age_s"] == pytest.approx(0.0)


def test_of_a_silent_device_no_value_is_known_and_its_phase_says_why(site: Site) -> None:
    site.stays(130)
    site.node.misses(20)
    silent, _ = site.rows("device")
    assert (silent["phase"], silent["freshness"], silent["reason_stale"]) == ("unknown", "stale", True)
    assert silent["power_watts"] is None
    assert silent["age_s"] == pytest.approx(20.0)


def test_a_value_that_is_not_read_any_more_is_null_while_its_device_lives(site: Site) -> None:
    site.stays(5)
    site.stays(5, {name: value for name, value in FULL.items() if name != "power_watts"}, FULL)
    first, second = site.rows("device")
    assert (first["power_watts"], second["power_watts"]) == (None, 60.0)
    assert first["utilization_ratio"] == 0.0


def test_a_device_of_which_nothing_came_has_no_age(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.node.fleet.declare("g9", "n9", "s1", "nvidia", "NVIDIA H100 80GB HBM3", "")
    declared = site.rows("device")[2]
    assert (declared["age_s"], declared["phase"], declared["learned"], declared["ecc_enabled"]) == (
        None, "absent", None, None
    )


def test_how_long_a_phase_lasts_does_not_depend_on_the_wall_clock(site: Site) -> None:
    site.stays(130)
    site.take()
    site.stays(10)
    before = site.rows("device")[0]["phase_s"]
    site.node.WALL += 3600.0
    assert site.rows("device")[0]["phase_s"] == before == 10.0
    site.stays(40, WORKING, FULL)
    assert site.rows("device")[0]["phase_s"] < 45.0


def test_a_partitioned_board_is_looked_at_beside_its_partitions_and_not_counted(tmp_path: Path) -> None:
    """Heat and faults are the board's."""
    site = Site(tmp_path)
    site.node.devices = (device("g0"), device("g1"), device("m0", parent="g0", partition_profile="1g.10gb"))
    site.node.hello()
    assert {row["uuid"]: row["partitioned"] for row in site.rows("device")} == {"g0": True, "g1": False, "m0": False}
    assert sum(row["seen"] for row in site.rows("group")) == 2


@pytest.mark.parametrize(("mode", "enabled"), [("mig=0 ecc=1", True), ("ecc=0", False), ("mig=0", None), ("", None)])
def test_whether_memory_corrects_errors_is_what_the_driver_says(site: Site, mode: str, enabled: bool | None) -> None:
    site.node.devices = (device("g0", mode=mode), device("g1"))
    site.node.hello()
    assert [row["ecc_enabled"] for row in site.rows("device")] == [enabled, None]


def test_a_floor_is_learned_where_power_is_read_and_a_host_has_none(site: Site) -> None:
    site.node.devices = (device("g0"), device("g1"), device("h0", device_class="general", model="host"))
    site.node.hello()
    site.stays(5, FULL, {"utilization_ratio": 0.0, "memory_usage_bytes": 0.0}, {"cpu_busy_cores": 0.1})
    assert [row["learned"] for row in site.rows("device")] == [False, False, None]
    site.node.engine.accept(0, 60.0, math.nan)
    assert site.rows("device")[0]["learned"] is True


def test_a_leased_device_that_does_nothing_is_idle_and_of_a_silent_one_that_is_not_known(site: Site) -> None:
    site.stays(60)
    site.node.fleet.allocation[0] = 2
    site.node.fleet.allocated_at[0] = site.node.now
    assert site.rows("device")[0]["leased_idle"] is False
    site.node.fleet.allocated_at[0] -= 86400.0
    site.node.engine.state["still_since_ms"][0] -= 86_400_000
    assert [row["leased_idle"] for row in site.rows("device")] == [True, False]
    site.node.misses(60)
    assert [row["leased_idle"] for row in site.rows("device")] == [None, False]


def test_a_node_is_told_as_it_is(site: Site) -> None:
    site.node.hello(agent_version="0.0.9", spool_dropped=7)
    site.stays(3)
    site.unacknowledged["n1"] = site.node.now - 75.0
    site.certificates["n1"] = Validity(site.wall - 3 * 86400.0, site.wall + 86400.0)
    [node] = site.rows("node")
    assert node == {
        "node": "n1", "site": "s1", "seen": True, "connected": True, "age_s": 0.0,
        "clock_skew_s": pytest.approx(0.0, abs=0.01), "agent_version": "0.0.9", "version_differs": True,
        "spool_pending": 0.0, "spool_dropped": 7.0, "spool_dropped_age_s": 0.0,
        "maintenance": False, "unacknowledged_s": 75.0, "devices": 2.0,
        "certificate_remaining_ratio": 0.25, "certificate_expires_in_s": 86400.0,
    }


def test_how_long_ago_a_spool_dropped_last_begins_anew_when_it_drops_more_and_ends_with_its_agent(site: Site) -> None:
    def age_s() -> float | None:
        found: float | None = site.rows("node")[0]["spool_dropped_age_s"]
        return found

    site.node.hello(spool_dropped=0)
    assert age_s() is None
    site.node.hello(spool_dropped=7)
    assert age_s() == 0.0
    site.stays(30)
    assert age_s() == pytest.approx(30.0)
    site.node.hello(spool_dropped=8)
    assert age_s() == 0.0
    site.node.hello(spool_dropped=0)
    assert age_s() is None


def test_a_node_is_in_maintenance_when_all_of_its_devices_are(site: Site) -> None:
    service = site.node.fleet.service
    service[0] = SERVICES.index(Service.MAINTENANCE)
    assert site.rows("node")[0]["maintenance"] is False
    service[1] = SERVICES.index(Service.MAINTENANCE)
    assert site.rows("node")[0]["maintenance"] is True


def test_a_node_that_was_only_declared_was_never_seen_and_nothing_else_is_known_of_it(site: Site) -> None:
    site.node.fleet.declare("g9", "n9", "s9", "nvidia", "NVIDIA H100 80GB HBM3", "")
    node = {row["node"]: row for row in site.rows("node")}["n9"]
    assert (node["seen"], node["connected"], node["site"]) == (False, False, "s9")
    assert [name for name, value in node.items() if value is None] == [
        "age_s", "clock_skew_s", "agent_version", "version_differs", "spool_pending", "spool_dropped",
        "spool_dropped_age_s", "certificate_remaining_ratio", "certificate_expires_in_s",
    ]


def test_a_node_of_an_earlier_run_was_seen(site: Site) -> None:
    fleet = site.node.fleet
    fleet.restore([msgspec.structs.replace(
        fleet.seen(0), node="n2", identity=msgspec.structs.replace(fleet.identities[0], uuid="g8")
    )], 0.0)
    node = {row["node"]: row for row in site.rows("node")}["n2"]
    assert (node["seen"], node["connected"], node["age_s"]) == (True, False, None)


def test_a_node_leaves_when_its_devices_were_retired_and_its_agent_is_gone(site: Site) -> None:
    fleet = site.node.fleet
    for row in range(2):
        fleet.present[row] = False
        fleet.retire(row)
    assert [row["node"] for row in site.rows("node")] == ["n1"]
    fleet.gone("n1", site.node.now)
    assert site.rows("node") == []


def test_a_readers_state_has_an_age_by_its_own_nodes_clock_and_is_unknown_when_the_node_is_away(site: Site) -> None:
    since_ms = round((site.node.skew + site.node.now - 90.0) * 1000)
    site.node.hello(readers=[pb.Reader(name="nvidia", state="stuck", since_ms=since_ms, message="m")])
    site.stays(10)
    site.node.WALL += 3600.0
    [reader] = site.rows("reader")
    assert reader == {
        "node": "n1", "site": "s1", "reader": "nvidia", "state": "stuck", "message": "m",
        "state_s": pytest.approx(100.0, abs=0.01),
    }
    site.node.fleet.gone("n1", site.node.now)
    [reader] = site.rows("reader")
    assert (reader["state"], reader["state_s"], reader["reader"]) == (None, None, "nvidia")


def test_incidents_and_conditions_are_rows_as_long_as_they_stand_and_are_enforced(site: Site) -> None:
    site.tell(event(95, site.ms()), event(95, site.ms()), event(167, site.ms(), device="g1"))
    site.stays(1, FULL, {**FULL, "recovery_action": 3.0})
    site.stays(5, FULL, {**FULL, "recovery_action": 3.0})
    found = {(row["uuid"], row["incident_rule"]): row for row in site.rows("incident")}
    assert set(found) == {("g0", "xid 95"), ("g1", "drain_peer_to_peer")}, "the shadow of 167 is none"
    assert found["g0", "xid 95"]["health_severity"] == "failed"
    assert found["g0", "xid 95"]["node"] == "n1"
    held = found["g1", "drain_peer_to_peer"]
    assert (held["site"], held["count"], held["open_s"]) == ("s1", 1.0, 5.0)
    assert held["evidence"].startswith("recovery_action: 3 (expected ")
    site.stays(6)
    assert [row["uuid"] for row in site.rows("incident")] == ["g0"]


def test_a_group_counts_as_capacity_does(site: Site) -> None:
    site.stays(130)
    site.node.fleet.declare("g9", "n9", "s1", "nvidia", "NVIDIA A100-SXM4-80GB", "")
    site.stays(40, FULL, WORKING)
    [group] = site.rows("group")
    assert {name: value for name, value in group.items() if value} == {
        "site": "s1", "class": "intelligent", "vendor": "nvidia", "model": "NVIDIA A100-SXM4-80GB",
        "declared": 1.0, "undeclared": 2.0, "seen": 2.0, "absent": 1.0, "idle": 1.0, "unmanaged": 1.0,
        "ineffective_ratio": 0.5,
    }
    assert group["idle_highest_5m"] is None, "five minutes are not over"
    site.take()
    site.stays(301, FULL, WORKING)
    assert site.rows("group")[0]["idle_highest_5m"] == 1.0


def test_a_whole_ledger_is_one_row_and_one_that_agents_read_is_one_a_node(site: Site) -> None:
    site.imports.take("slurm", dispatch.LedgerImport(age_s=2.0, nodes=[], jobs=[]), site.node.now, site.wall)
    site.imports.take_node("n1", pb.Ledger(name="kubernetes", age_s=1.0), site.node.now, site.wall)
    site.node.now += 40.0
    assert site.rows("ledger") == [
        {"ledger": "slurm", "node": "", "site": "centre", "age_s": 42.0, "stale": True},
        {"ledger": "kubernetes", "node": "n1", "site": "s1", "age_s": 41.0, "stale": True},
    ]


def test_the_collector_says_whether_its_view_is_complete_and_what_waits_longest(site: Site) -> None:
    site.stays(5)
    [itself] = site.rows("collector")
    assert (itself["complete"], itself["unacknowledged_s"], itself["store_full_in_s"]) == (True, 0.0, None)
    site.unacknowledged["n1"] = site.node.now
    site.node.misses(61)
    [itself] = site.rows("collector")
    assert (itself["complete"], itself["unacknowledged_s"]) == (False, 61.0)


def test_what_was_taken_does_not_change_while_the_fleet_goes_on(site: Site) -> None:
    site.stays(130)
    site.tell(event(94, site.ms()))
    wanted = ALL
    at_once = {name: {column: taken.column(column).to_pylist() for column in wanted[name]}
               for name, taken in site.take(wanted).items()}
    tables = site.taker.take(wanted)
    site.stays(60, WORKING, WORKING)
    site.node.devices = (device("g5", mode="ecc=0"), device("g1", model="another"))
    site.node.hello(readers=[pb.Reader(name="r", state="ok")], agent_version="2")
    site.tell(event(95, site.ms()))
    site.node.fleet.gone("n1", site.node.now)
    site.take()
    later = {name: {column: taken.column(column).to_pylist() for column in wanted[name]}
             for name, taken in tables.items()}
    for name, columns in at_once.items():
        for column, values in columns.items():
            assert later[name][column] == values, (name, column)


def test_a_table_that_cannot_be_made_is_missing_and_the_others_are_there(site: Site) -> None:
    site.taker._from = site.taker._from._replace(imports=None)  # type: ignore[arg-type]
    assert site.take().keys() == TABLES.keys() - {"ledger"}
    assert site.taker.failures == 1
