"""The board: real readings and events of a fleet become verdicts, reasons and phases, and outlive the collector."""

import gc
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from fallow_collector.health.board import Board
from fallow_collector.health.power import Power
from fallow_collector.health.rules import Breaker, Rules, ValueRule
from fallow_collector.health.verdict import Verdict
from fallow_collector.health.words import Action, Mode, Severity
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.health.clinic import FULL, Clinic
from tests.collector.health.told import event
from tests.collector.watching import HOST, IDLE, Watched, device


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    made = Clinic(tmp_path)
    yield made
    made.state.close()


def test_a_fault_of_the_hardware_takes_the_device_out_at_once_and_no_other(clinic: Clinic) -> None:
    clinic.stays(130)
    assert (clinic.node.phase(0), clinic.node.phase(1)) == ("idle", "idle")
    clinic.tell(event(95, clinic.ms(), "uncontained"))
    assert (clinic.node.phase(0), clinic.node.phase(1)) == ("faulty", "idle")
    assert clinic.node.reasons(0) == ["incident_failed"]
    one, = clinic.open()
    assert (one.severity, one.action, one.device, one.node) == (Severity.FAILED, Action.RESET_DEVICE, "g0", "n1")


def test_a_fault_of_a_board_takes_its_partitions_out_with_it(clinic: Clinic) -> None:
    clinic.node.devices = (device("g0", index=0), device("g1", parent="g0", partition_profile="1g.10gb"))
    clinic.node.hello()
    clinic.stays(130)
    assert clinic.node.phase(1) == "idle"
    clinic.tell(event(94, clinic.ms()))
    assert (clinic.node.phase(1), clinic.health(1)) == ("idle", "degraded")
    clinic.tell(event(95, clinic.ms(), "uncontained"))
    assert (clinic.node.phase(1), clinic.node.reasons(1)) == ("faulty", ["incident_failed"])


def test_what_a_node_tells_of_another_one_s_device_says_nothing_of_it(clinic: Clinic) -> None:
    clinic.stays(130)
    clinic.tell(event(95, clinic.ms(), "uncontained")._replace(node="n2"))
    assert (clinic.node.phase(0), clinic.health(0)) == ("idle", "ok")


def test_a_node_that_names_another_one_s_devices_has_an_incident_as_long_as_it_does(clinic: Clinic) -> None:
    clinic.stays(130)
    Watched(device("g0"), node="n2", fleet=clinic.node.fleet, engine=clinic.node.engine, now=clinic.node.now)
    clinic.stays(5)
    one, = [incident for incident in clinic.board.in_force().incidents if incident.node == "n2"]
    assert (one.severity, one.device) == (Severity.DEGRADED, "")
    assert "names devices that another node has" in one.summary
    assert "g0 of n1" in one.evidence[0].found
    assert clinic.node.phase(0) == "idle"
    assert [kind for kind, _ in clinic.notes] == [EventKind.DEVICE_CONTESTED]


def test_a_degraded_device_is_still_idle_and_says_why_it_is_degraded(clinic: Clinic) -> None:
    clinic.stays(130)
    clinic.tell(event(94, clinic.ms()))
    assert (clinic.node.phase(0), clinic.health(0)) == ("idle", "degraded")
    assert clinic.node.reasons(0) == ["incident_degraded"]


def test_what_only_informs_and_what_is_in_shadow_changes_nothing(clinic: Clinic) -> None:
    clinic.tell(event(31, clinic.ms()), event(167, clinic.ms(), device="g1"))
    assert (clinic.health(0), clinic.health(1)) == ("ok", "ok")
    assert [one.mode for one in clinic.open("g1")] == [Mode.SHADOW]


def test_what_is_not_known_stays_so_whatever_the_rules_say(clinic: Clinic) -> None:
    clinic.tell(event(95, clinic.ms()))
    clinic.node.misses(10)
    clinic.tick()
    assert clinic.health(0) == "unknown"
    assert "incident_failed" in clinic.node.reasons(0)


@pytest.mark.parametrize(("action", "rule", "suggested"), [
    (1.0, "device_reset_required", Action.RESET_DEVICE), (2.0, "node_reboot_required", Action.RESTART_NODE),
    (3.0, "drain_peer_to_peer", Action.RESET_DEVICE), (4.0, "device_reset_required", Action.RESET_DEVICE),
    (5.0, "recovery_unknown", Action.CONTACT_VENDOR),
])
def test_a_condition_stands_while_its_value_says_so_and_clears_with_it(
    clinic: Clinic, action: float, rule: str, suggested: Action
) -> None:
    clinic.stays(1, {**FULL, "recovery_action": action}, FULL)
    since_ms = round(clinic.wall * 1000)
    clinic.stays(3, {**FULL, "recovery_action": action}, FULL)
    one, = clinic.open()
    assert (one.rule, one.action, one.since_ms) == (rule, suggested, since_ms)
    assert one.evidence[0].what == "recovery_action"
    assert clinic.open("g1") == []
    clinic.stays(1)
    assert clinic.open() == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_driver_that_asks_for_nothing_any_more_clears_what_came_while_it_asked(
    clinic: Clinic, restarted: bool
) -> None:
    """A reset of the device alone leaves no other trace."""
    clinic.tell(event(119, clinic.ms()))
    clinic.stays(10, {**FULL, "recovery_action": 1.0}, FULL)
    if restarted:
        clinic.restart()
    clinic.stays(200, IDLE, FULL)
    assert {one.rule for one in clinic.open()} == {"xid 119", "device_reset_required"}, "not known is not over"
    clinic.node.now += 1
    clinic.tell(event(94, clinic.ms()))
    clinic.stays(2)
    assert [one.rule for one in clinic.open()] == ["xid 94"], "what came after the reset is not cleared by it"
    gone, = (one for one in clinic.board.incidents("g0", clinic.wall) if one.rule == "xid 119")
    assert gone.cleared_by == "the driver asks for nothing any more"
    assert clinic.health(0) == "degraded"


def test_power_that_cannot_be_read_any_more_is_told(clinic: Clinic) -> None:
    read = {**FULL, "temperature_celsius": 40.0}
    blind = {name: value for name, value in read.items() if name != "power_watts"}
    clinic.stays(2, read, read)
    for _ in range(14):
        clinic.stays(5, blind, read)
    assert ([one.rule for one in clinic.open()], clinic.open("g1")) == (["power_unreadable"], [])
    clinic.stays(5, read, read)
    assert clinic.open() == []


def test_power_that_never_could_be_read_or_of_a_silent_device_is_not_unreadable() -> None:
    power, here, none = Power(), np.array([40.0, 40.0, np.nan]), np.full(3, np.nan)
    assert np.isnan(power.unreadable(none, here)).all()
    assert power.unreadable(np.array([np.nan, 60.0, 60.0]), here).tolist()[1:] == [0.0, 0.0]
    told = power.unreadable(none, here)
    assert (np.isnan(told).tolist(), told[1]) == ([True, False, True], 1.0)


def test_a_condition_whose_value_is_not_read_any_more_is_not_over(clinic: Clinic) -> None:
    clinic.stays(2, {**FULL, "recovery_action": 3.0}, FULL)
    clinic.stays(5, IDLE, FULL)
    assert [one.rule for one in clinic.open()] == ["drain_peer_to_peer"]


def test_a_rate_is_that_of_a_whole_minute_and_a_counter_that_falls_begins_anew(tmp_path: Path) -> None:
    rules = Rules(version=1, value=(ValueRule(
        name="replays", column="pcie_replays_total", above=31, per="minute", severity=Severity.DEGRADED,
        action=Action.INSPECT_HARDWARE, why="too many",
    ),))
    clinic = Clinic(tmp_path, rules=rules)
    clinic.stays(70, {**FULL, "pcie_replays_total": 131.0}, {**FULL, "pcie_replays_total": 140.0})
    assert (clinic.open("g0"), [one.rule for one in clinic.open("g1")]) == ([], ["replays"])
    clinic.stays(70, {**FULL, "pcie_replays_total": 3.0}, {**FULL, "pcie_replays_total": 140.0})
    assert (clinic.open("g0"), clinic.open("g1")) == ([], [])
    clinic.state.close()


def test_a_rule_may_be_another_for_one_model_and_wants_its_time(tmp_path: Path) -> None:
    def hot(above: float, *models: str) -> ValueRule:
        return ValueRule(
            name="hot", column="power_watts", above=above, severity=Severity.FAILED, action=Action.INSPECT_HARDWARE,
            why="too hot", for_s=10, models=models,
        )

    clinic = Clinic(tmp_path, rules=Rules(version=1, value=(hot(500, "*A100*"), hot(50))))
    clinic.stays(30)
    assert clinic.open() == []
    clinic.stays(5, {**FULL, "power_watts": 501.0}, FULL)
    assert clinic.open() == []
    clinic.stays(10, {**FULL, "power_watts": 501.0}, FULL)
    assert (clinic.open()[0].rule, clinic.health(0)) == ("hot", "failed")
    clinic.state.close()


def test_incidents_and_conditions_are_the_same_after_a_restart(clinic: Clinic) -> None:
    clinic.tell(event(95, clinic.ms()), event(63, clinic.ms(), device="g1"))
    clinic.stays(30, {**FULL, "recovery_action": 3.0}, FULL)
    before = {one.incident_id: (one.since_ms, one.rule) for one in clinic.open()}
    assert {rule for _, rule in before.values()} == {"xid 95", "drain_peer_to_peer"}
    clinic.restart()
    assert {one.incident_id: (one.since_ms, one.rule) for one in clinic.open()} == before
    assert clinic.health(0) == "failed"


def test_what_was_failed_is_so_after_a_restart_before_anything_is_weighed_again(clinic: Clinic) -> None:
    clinic.stays(130, {**FULL, "recovery_action": 1.0}, FULL)
    clinic.tell(event(95, clinic.ms(), "uncontained", device="g1"))
    clinic.board.keep().save(clinic.state)
    clinic.node.fleet.verdict[:] = 0
    Board(clinic.rules, clinic.node.fleet, clinic.state, lambda *note: None, round(clinic.wall * 1000))
    assert [int(one) for one in clinic.node.fleet.verdict[:2]] == [Verdict.FAILED, Verdict.FAILED]
    assert clinic.node.phase(1) == "faulty"


def test_a_reboot_is_seen_by_its_boot_id_also_over_a_restart_and_cures(clinic: Clinic) -> None:
    hello = pb.Hello(node="n1", epoch="e1", boot_id="boot-a")
    clinic.board.hello(hello, clinic.wall)
    clinic.tell(event(79, clinic.ms()))
    clinic.restart()
    assert clinic.notes == []
    clinic.node.now += 60
    clinic.board.hello(pb.Hello(node="n1", epoch="e2", boot_id="boot-b"), clinic.wall)
    clinic.stays(1)
    assert [kind for kind, _ in clinic.notes] == [EventKind.NODE_REBOOTED]
    assert (clinic.open(), clinic.health(0)) == ([], "ok")


def test_a_fatal_error_of_a_switch_concerns_every_device_of_its_node(clinic: Clinic) -> None:
    clinic.tell(event(20034, clinic.ms(), "Fatal, Link 30 LTSSM Fault Up", EventKind.SXID, device=""))
    assert [clinic.health(row) for row in range(2)] == ["failed", "failed"]
    assert [one.device for one in clinic.open("g1")] == [""]


def test_what_is_wrong_is_counted_by_rule_and_never_by_device_or_by_a_code_that_drivers_invent(clinic: Clinic) -> None:
    clinic.tell(
        event(95, clinic.ms()), event(95, clinic.ms(), device="g1"),
        *(event(code, clinic.ms(), device="g1", node=f"n{code}") for code in range(900_000, 900_100)),
        event(0x81078603, clinic.ms(), kind=EventKind.DEVICE_FAULT, node="other", source="dcmi"),
    )
    clinic.stays(3, {**FULL, "recovery_action": 3.0}, {**FULL, "remap_pending": 1.0})
    found = clinic.board.tally()
    assert found.incidents == {
        ("xid 95", "failed", "enforce"): 2, ("xid other", "degraded", "enforce"): 100,
        ("device_fault", "degraded", "enforce"): 1,
    }
    assert {one.rule: count for one, count in found.conditions.items() if count} == {
        "drain_peer_to_peer": 1, "remap_pending": 1
    }
    assert {one.rule for one in found.conditions} == {rule.name for rule in clinic.rules.value}
    assert found.doubted == 0


def test_what_ails_the_host_degrades_the_host_and_no_accelerator_in_it(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.node.devices = (*clinic.node.devices, device("h0", device_class="general", vendor="intel", model="Xeon"))
    clinic.node.hello()
    readings = (FULL, FULL, HOST)
    clinic.stays(10, *readings)
    clinic.tell(*(event(
        0, clinic.ms(ago_s=n * 1000), "port mlx5_0/1 went from ACTIVE to DOWN", EventKind.PORT_DOWN, device=""
    ) for n in range(3)))
    assert [clinic.health(row) for row in range(3)] == ["ok", "ok", "degraded"]
    clinic.tell(event(0, clinic.ms(), "up", EventKind.PORT_UP, device=""))
    assert clinic.health(2) == "degraded", "it flaps"
    assert [one.severity for one in clinic.open("g0")] == [Severity.DEGRADED], "whoever looks at a device is told"
    clinic.state.close()


def test_a_rule_that_would_fail_much_of_the_fleet_at_once_is_doubted_loudly(tmp_path: Path) -> None:
    rules = Rules(version=1, breaker=Breaker(ratio=0.05, devices=8, within_s=600), value=(ValueRule(
        name="wrong", column="power_watts", above=1, severity=Severity.FAILED, action=Action.RESET_DEVICE, why="wrong",
    ),))
    clinic = Clinic(tmp_path, size=40, rules=rules)
    states = [clinic.health(row) for row in range(40)]
    assert (states.count("failed"), states.count("ok")) == (8, 32)
    doubted = [row for row in range(40) if "incident_doubted" in clinic.node.reasons(row)]
    assert len(doubted) == clinic.board.tally().doubted == 32
    (kind, text), = clinic.notes
    assert kind is EventKind.RULES_DOUBTED
    assert text.startswith("rules of health would fail 40 of 40 devices, more than 5% and 8 within 600 s: 32 are not")
    clinic.stays(900)
    assert [clinic.health(row) for row in range(40)] == states, "time lets nothing through"
    clinic.restart()
    assert [clinic.health(row) for row in range(40)] == states, "nor does a restart"
    clinic.state.close()


def test_what_drivers_say_of_their_own_devices_is_never_doubted(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, size=40)
    clinic.stays(2, *({**FULL, "recovery_action": 1.0},) * 40)
    assert {clinic.health(row) for row in range(40)} == {"failed"}
    assert clinic.notes == []
    clinic.state.close()


def test_a_storm_shows_every_kind_and_the_dead_device_and_memory_stays_flat(clinic: Clinic) -> None:
    """200 events a second for 5 minutes, of 29 kinds, each an event of its own: nothing was coalesced on the way."""
    codes = (*range(1, 13), 13, 31, 32, 38, 43, 45, 48, 62, 63, 64, 68, 69, 74, 92, 94, 95, 79)
    assert len(set(codes)) == 29
    numbers = count()
    objects = []
    for second in range(300):
        rows = [
            event(codes[n % 28], clinic.ms(), f"storm {second}", number=next(numbers), device="g1") for n in range(200)
        ]
        if second == 150:
            rows.append(event(79, clinic.ms(), "GPU has fallen off the bus"))
        clinic.board.take(rows)
        clinic.stays(1)
        if second == 150:
            assert clinic.health(0) == "failed", "the dead device is seen in the middle of the storm"
        if second in (30, 299):
            gc.collect()
            objects.append(len(gc.get_objects()))
    storm, = clinic.open("g1")
    assert {int(each.what.split(":")[0].removeprefix("Xid ")) for each in storm.evidence} == set(codes) - {79}
    assert storm.times == 60_000
    assert objects[1] - objects[0] < 1000, "54,000 events later"


@pytest.mark.parametrize(("values", "rule", "action", "health"), [
    ({"remap_failed": 1.0}, "remap_failed", Action.CONTACT_VENDOR, "failed"),
    ({"remap_pending": 1.0}, "remap_pending", Action.RESET_DEVICE, "ok"),
    ({"remapped_rows_uncorrected": 512.0}, "remapped_rows", Action.CONTACT_VENDOR, "degraded"),
    ({"retirement_pending": 1.0}, "retirement_pending", Action.RESET_DEVICE, "degraded"),
    ({"ecc_uncorrected_total": 2.0}, "ecc_uncorrected", Action.RESET_DEVICE, "ok"),
])
def test_what_the_memory_says_of_itself_is_weighed_as_dcgm_does(
    clinic: Clinic, values: dict[str, float], rule: str, action: Action, health: str
) -> None:
    sound = dict.fromkeys(values, 0.0)
    clinic.stays(2, {**FULL, **values}, {**FULL, **sound})
    assert [(one.rule, one.action) for one in clinic.open()] == [(rule, action)]
    assert (clinic.open("g1"), clinic.health(0), clinic.health(1)) == ([], health, "ok")


def test_replays_beyond_what_the_link_makes_of_itself_degrade_the_device(clinic: Clinic) -> None:
    link = {**FULL, "pcie_generation_limit": 5.0, "pcie_lanes_limit": 16.0}
    for replays in (100.0, 135.0):
        for _ in range(65):
            clinic.stays(1, {**link, "pcie_replays_total": replays}, {**FULL, "pcie_replays_total": replays})
    one, = clinic.open()
    assert (one.rule, one.evidence[0].threshold) == ("pcie_replays", "at most 31 a minute")
    assert (clinic.open("g1"), clinic.health(0)) == ([], "degraded"), "without its width nothing is said of a link"


def test_what_is_told_is_weighed_at_the_next_turn_and_values_every_few_seconds(clinic: Clinic) -> None:
    clinic.tick()
    assert not clinic.board.due(clinic.node.now + 1, clinic.wall + 1)
    assert clinic.board.due(clinic.node.now + 5, clinic.wall + 5)
    clinic.board.take([event(95, clinic.ms())])
    assert clinic.board.due(clinic.node.now + 1, clinic.wall + 1)
