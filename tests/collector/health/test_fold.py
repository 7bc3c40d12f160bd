"""Events become incidents: bursts, their worst code, what clears them, and what several of them say together."""

import pytest

from fallow_collector.health.history import Cure
from fallow_collector.health.rules import EventRule, Folding
from fallow_collector.health.words import Action, Mode, Severity
from fallow_collector.state import EventRow
from fallow_proto.states import EventKind
from tests.collector.health.told import HOUR, MINUTE, T0, event, folded

TO_RESET = "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
TO_NONE = "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"


def test_what_is_never_silent_for_three_minutes_is_one_incident() -> None:
    one, = folded(event(31, 0), event(31, 3 * MINUTE), event(95, 6 * MINUTE))
    assert (one.since_ms, one.last_ms, one.times) == (T0, T0 + 6 * MINUTE, 3)
    assert len(folded(event(31, 0), event(31, 3 * MINUTE + 1))) == 2


def test_the_worst_code_of_a_burst_decides_wherever_it_stands() -> None:
    for order in ((31, 95, 13), (95, 13, 31), (13, 31, 95)):
        one, = folded(*(event(code, n) for n, code in enumerate(order)))
        assert (one.rule, one.severity, one.action) == ("xid 95", Severity.FAILED, Action.RESET_DEVICE)


def test_a_cleanup_is_never_what_is_acted_on_unless_it_is_alone() -> None:
    both, = folded(event(45, 0), event(31, 10))
    assert (both.rule, both.severity) == ("xid 31", Severity.INFO)
    alone, = folded(event(45, 0))
    assert (alone.rule, alone.severity, alone.action) == ("xid 45", Severity.INFO, Action.RESTART_APP)


def test_the_drivers_newest_word_on_recovery_outweighs_every_code() -> None:
    one, = folded(event(79, 0), event(154, 10, TO_RESET))
    assert (one.rule, one.action) == ("xid 154", Action.RESET_DEVICE)


def test_xid_154_without_its_text_outweighs_nothing() -> None:
    one, = folded(event(79, 0), event(154, 10, source="nvml"))
    assert (one.rule, one.action) == ("xid 79", Action.RESTART_NODE)


@pytest.mark.parametrize("later_ms", [MINUTE, HOUR])
def test_the_drivers_all_clear_clears_what_came_before_it(later_ms: int) -> None:
    first = folded(event(95, 0), event(154, 10, TO_RESET), event(154, later_ms, TO_NONE))[0]
    assert (first.cleared_ms, first.cleared_by) == (T0 + later_ms, "the driver asks for nothing any more")
    again = folded(event(154, 0, TO_NONE), event(95, 10))[-1]
    assert again.open


def test_power_smoothing_that_is_engaged_again_is_not_disengaged_any_more() -> None:
    """NVIDIA/NVSentinel issue 1252: 162 takes 163 back."""
    off, = folded(event(163, 0))
    assert off.open
    both, = folded(event(163, 0), event(162, MINUTE))
    assert (both.cleared_ms, both.cleared_by) == (T0 + MINUTE, "the driver took it back")
    later = folded(event(163, 0), event(162, HOUR), now_ms=HOUR)
    assert [one.open for one in later] == [False, False]
    again, = folded(event(163, 0), event(162, MINUTE), event(163, 2 * MINUTE))
    assert again.open
    other, = folded(event(163, 0), event(95, 10), event(162, MINUTE))
    assert other.open, "it takes nothing else back"


@pytest.mark.parametrize(("code", "kind", "cleared"), [
    (95, "rebooted", True), (95, "reloaded", True), (79, "rebooted", True), (79, "reloaded", False),
    (54, "rebooted", False), (54, "reloaded", False),
])
def test_a_reboot_and_a_reload_cure_what_they_can(code: int, kind: str, cleared: bool) -> None:
    one, = folded(event(code, 0), cures=(Cure(kind, T0 + MINUTE, "e2"),))
    assert one.open is not cleared


def test_what_the_agent_told_after_a_reboot_is_not_cured_by_it() -> None:
    one, = folded(event(79, 0, epoch="e2"), cures=(Cure("rebooted", T0 + MINUTE, "e2"),))
    assert one.open


@pytest.mark.parametrize(("code", "quiet_ms"), [(31, 600_000), (94, HOUR), (95, 24 * HOUR)])
def test_silence_clears_the_sooner_the_milder_it_was(code: int, quiet_ms: int) -> None:
    assert folded(event(code, 0), now_ms=quiet_ms - 1)[0].open
    cleared, = folded(event(code, 0), now_ms=quiet_ms)
    assert (cleared.cleared_ms, cleared.cleared_by) == (T0 + quiet_ms, "it has been quiet since")


def down(at_ms: int, place: int = 0, many: int = 1) -> EventRow:
    return event(place, at_ms, "port mlx5_0/1 went from ACTIVE to DOWN", EventKind.PORT_DOWN, device="", many=many)


def test_a_port_that_is_up_again_is_not_down_and_another_is() -> None:
    assert folded(down(0))[0].severity is Severity.INFO
    up = Cure("up", T0 + MINUTE, "", code=0)
    first, = folded(down(0), cures=(up,))
    assert (first.cleared_ms, first.cleared_by) == (T0 + MINUTE, "the port is active again")
    other, = folded(down(0, place=1), cures=(up,))
    assert other.open


def test_a_port_that_goes_down_three_times_in_half_a_day_flaps_whether_it_is_up_or_not() -> None:
    up = Cure("up", T0 + 12 * HOUR, "", code=0)
    found = folded(*(down(n * 5 * HOUR) for n in range(3)), cures=(up,), now_ms=10 * HOUR + 1)
    assert [one.severity for one in found] == [Severity.INFO, Severity.INFO, Severity.DEGRADED]
    assert (found[-1].open, found[-1].action) == (True, Action.INSPECT_HARDWARE)
    assert found[-1].evidence[-1] == ("a port flaps", "3 times down in 43200 s", "fewer than 3", ())
    assert folded(*(down(n * 7 * HOUR) for n in range(3)))[-1].severity is Severity.INFO
    assert folded(*(down(n * HOUR, place=n) for n in range(3)))[-1].severity is Severity.INFO
    assert folded(down(0, many=3))[-1].severity is Severity.DEGRADED, "three at once are three"


@pytest.mark.parametrize(("kind", "severity", "action"), [
    (EventKind.OOM_KILL, Severity.INFO, Action.RESTART_APP),
    (EventKind.FILESYSTEM_READ_ONLY, Severity.DEGRADED, Action.INSPECT_HARDWARE),
])
def test_what_ails_a_host_is_an_incident(kind: EventKind, severity: Severity, action: Action) -> None:
    one, = folded(event(None, 0, kind=kind, device=""))
    assert (one.rule, one.severity, one.action) == (kind, severity, action)


def test_a_device_that_comes_back_has_not_vanished() -> None:
    vanished = event(None, 0, kind=EventKind.DEVICE_VANISHED)
    assert folded(vanished)[0].open
    assert not folded(vanished, cures=(Cure("appeared", T0 + 10, ""),))[0].open
    assert folded(event(79, 0), cures=(Cure("appeared", T0 + 10, ""),))[0].open


def test_the_fifth_incident_in_a_day_is_the_vendors() -> None:
    found = folded(*(event(94, n * HOUR) for n in range(5)))
    assert [one.action for one in found] == [Action.RESTART_APP] * 4 + [Action.CONTACT_VENDOR]
    assert found[-1].evidence[-1].found == "5 in 86400 s"
    assert folded(*(event(31, n * HOUR) for n in range(9)))[-1].action is Action.RESTART_APP


def test_what_two_reboots_did_not_cure_is_to_be_looked_at() -> None:
    cures = tuple(Cure("rebooted", T0 + n * HOUR + MINUTE, f"e{n + 2}") for n in range(2))
    found = folded(*(event(79, n * HOUR, epoch=f"e{n + 1}") for n in range(3)), cures=cures)
    assert [one.action for one in found] == [Action.RESTART_NODE, Action.RESTART_NODE, Action.INSPECT_HARDWARE]


def test_the_same_fault_of_three_jobs_in_an_hour_is_the_hardwares() -> None:
    jobs = [event(31, n * 10 * MINUTE, f"pid={n + 100}, name=train{n}, Ch 00000008") for n in range(3)]
    found = folded(*jobs)
    assert [(one.severity, one.action) for one in found] == [
        (Severity.INFO, Action.RESTART_APP), (Severity.INFO, Action.RESTART_APP),
        (Severity.DEGRADED, Action.INSPECT_HARDWARE),
    ]
    same = [row._replace(message=jobs[0].message) for row in jobs]
    assert folded(*same)[-1].severity is Severity.INFO
    slow = [row._replace(first_ms=T0 + n * HOUR, last_ms=T0 + n * HOUR) for n, row in enumerate(jobs)]
    assert folded(*slow)[-1].severity is Severity.INFO


def test_a_rule_of_ones_own_speaks_of_its_codes_and_models_only() -> None:
    rules = Folding(event=(
        EventRule(kind="xid", codes=(74,), models=("*a100*",), severity=Severity.INFO, why="false positives"),
        EventRule(kind="xid", codes=(79,), mode=Mode.SHADOW, why="tried out"),
    ))
    assert folded(event(74, 0), rules=rules, model="NVIDIA A100-SXM4-80GB")[0].severity is Severity.INFO
    assert folded(event(74, 0), rules=rules)[0].severity is Severity.DEGRADED
    assert (folded(event(79, 0), rules=rules)[0].mode, folded(event(95, 0), rules=rules)[0].mode) == (
        Mode.SHADOW, Mode.ENFORCE
    )


def test_an_incident_names_its_evidence_and_keeps_its_id_as_it_grows() -> None:
    first = event(95, 0, "uncontained")
    grown = first._replace(seq=9, many=7, last_ms=T0 + 100)
    one, = folded(first)
    later, = folded(first, grown, event(45, 200))
    assert later.incident_id == one.incident_id
    assert (later.times, one.times) == (8, 1)
    assert later.evidence[0].events == (f"n1/e1/{first.id}",)
    assert later.evidence[0].found == "7 times: uncontained"
