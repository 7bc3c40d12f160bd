"""The definition of idle, rule by rule."""

import pytest

from fallow_collector.idle.settings import IdleSettings
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, GIB, HOLDING, IDLE, NAN, Watched, device


def idle_device(**more: object) -> Watched:
    """A device that was just confirmed."""
    watched = Watched(device("g0", **more))
    watched.stays(62, IDLE)
    assert watched.phase() == "idle"
    return watched


def test_a_device_is_idle_after_the_whole_window_and_not_before() -> None:
    watched = Watched()
    watched.says(IDLE)
    watched.stays(59, IDLE)
    assert (watched.phase(), watched.reasons()) == ("verifying", ["window"])
    watched.stays(1, IDLE)
    assert (watched.phase(), watched.reasons(), watched.is_low()) == ("idle", [], False)


def test_a_window_needs_ten_readings_however_long_it_is() -> None:
    watched = Watched(interval_s=30.0)
    watched.says(IDLE)
    watched.stays(8 * 30, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(30, IDLE)
    assert watched.phase() == "idle"


def test_one_active_reading_ends_idleness_at_once() -> None:
    watched = idle_device()
    watched.stays(1, {**IDLE, "utilization_ratio": 0.4})
    assert (watched.phase(), watched.reasons()) == ("unmanaged", ["active"])


def test_a_new_process_ends_idleness_at_once() -> None:
    watched = idle_device()
    watched.stays(1, {**IDLE, "processes": 1.0})
    assert watched.phase() == "unmanaged"


def test_after_work_the_window_starts_from_zero() -> None:
    watched = idle_device()
    watched.stays(1, BUSY)
    watched.stays(60, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(1, IDLE)
    assert watched.phase() == "idle"


def test_work_of_a_device_that_was_not_idle_becomes_unmanaged_after_its_time() -> None:
    watched = Watched()
    watched.says(BUSY)
    watched.stays(14, BUSY)
    assert watched.phase() == "verifying"
    watched.stays(1, BUSY)
    assert watched.phase() == "unmanaged"


def test_something_held_while_nothing_runs_is_unmanaged_and_never_idle() -> None:
    watched = Watched()
    watched.stays(300, HOLDING)
    assert (watched.phase(), watched.reasons()) == ("unmanaged", ["process_present"])


def test_a_missing_reading_starts_the_window_anew() -> None:
    watched = Watched()
    watched.stays(50, IDLE)
    watched.report(IDLE)  # made, numbered, and lost
    watched.stays(59, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(3, IDLE)
    assert watched.phase() == "idle"


def test_a_pause_of_the_reader_starts_the_window_anew() -> None:
    watched = idle_device()
    watched.misses(3)
    watched.says(IDLE)
    assert watched.phase() == "verifying"


def test_a_restarted_agent_starts_the_window_anew() -> None:
    watched = idle_device()
    watched.restart_agent()
    watched.stays(1, IDLE)
    assert watched.phase() == "verifying"


def test_a_cut_in_the_wire_is_no_cut_in_the_evidence() -> None:
    watched = idle_device()
    kept = []
    for _ in range(20):
        watched.now += 1
        kept.append(watched.report(IDLE))
    assert (watched.phase(), watched.reasons()) == ("unknown", ["stale"])
    watched.fleet.apply(kept)
    assert watched.phase() == "idle"


def test_a_moment_of_work_during_a_cut_in_the_wire_is_seen() -> None:
    watched = idle_device()
    kept = []
    for second in range(20):
        watched.now += 1
        kept.append(watched.report(BUSY if second == 7 else IDLE))
    watched.fleet.apply(kept)
    assert watched.phase() == "verifying"


def test_silence_makes_stale_then_lost() -> None:
    watched = idle_device()
    watched.misses(5)
    assert watched.phase() == "idle"
    watched.misses(0.1)
    assert (watched.phase(), watched.reasons()) == ("unknown", ["stale"])
    watched.misses(25)
    assert (watched.phase(), watched.reasons()) == ("unknown", ["lost"])


def test_limits_of_silence_follow_the_interval() -> None:
    watched = Watched(interval_s=10.0)
    watched.says(IDLE)
    watched.stays(100, IDLE)
    watched.misses(29)
    assert watched.phase() == "idle"
    watched.misses(2)
    assert watched.reasons() == ["stale"]


def test_a_report_that_was_long_on_its_way_is_old_when_it_comes() -> None:
    watched = idle_device()
    late = []
    for _ in range(10):
        watched.now += 1
        late.append(watched.report(IDLE))
    watched.fleet.apply(late[:2])  # received now, made eight seconds ago
    assert watched.reasons() == ["stale"]


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_the_agents_wall_clock_changes_nothing(skew: float) -> None:
    watched = Watched()
    watched.skew += skew
    watched.says(IDLE)
    watched.stays(60, IDLE)
    assert watched.phase() == "idle"


@pytest.mark.parametrize("witness", ["utilization_ratio", "memory_usage_bytes", "processes", "power_watts"])
def test_a_witness_that_was_read_before_is_required(witness: str) -> None:
    watched = idle_device()
    watched.stays(1, {**IDLE, witness: NAN})
    assert (watched.phase(), watched.reasons()[0]) == ("unknown", "witness_missing")


@pytest.mark.parametrize("witness", ["utilization_ratio", "memory_usage_bytes", "processes"])
def test_what_the_vendor_did_not_declare_unsupported_is_required_from_the_start(witness: str) -> None:
    watched = Watched()
    watched.stays(120, {**IDLE, witness: NAN})
    assert watched.phase() == "unknown"
    assert "witness_missing" in watched.reasons()


def test_memory_is_mandatory_even_where_unsupported() -> None:
    watched = Watched(device("g0", unsupported=["memory_usage_bytes"]))
    watched.stays(120, {**IDLE, "memory_usage_bytes": NAN})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["witness_missing"])


def test_without_a_list_of_processes_confidence_is_low() -> None:
    watched = Watched(device("g0", unsupported=["processes"]))
    watched.stays(62, {**IDLE, "processes": NAN})
    assert (watched.phase(), watched.is_low()) == ("idle", True)


def test_with_utilization_alone_confidence_is_low() -> None:
    watched = Watched(device("g0", unsupported=["power_watts"]))
    watched.stays(62, {**IDLE, "power_watts": NAN})
    assert (watched.phase(), watched.is_low(), watched.reasons()) == ("idle", True, ["single_activity_witness"])


def test_with_no_witness_of_activity_nothing_is_known() -> None:
    watched = Watched(device("g0", unsupported=["power_watts", "utilization_ratio"]))
    watched.stays(62, {**IDLE, "power_watts": NAN, "utilization_ratio": NAN})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["witness_missing"])


def test_power_of_work_without_any_work_is_grey_and_then_a_conflict() -> None:
    watched = idle_device()
    watched.stays(14, {**IDLE, "power_watts": 250.0})
    assert watched.phase() == "idle"
    watched.stays(2, {**IDLE, "power_watts": 250.0})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["conflict"])


def test_power_of_work_with_something_held_is_work() -> None:
    watched = Watched()
    watched.stays(20, {**HOLDING, "power_watts": 250.0})
    assert (watched.phase(), watched.reasons()) == ("unmanaged", ["active", "process_present"])


def test_grey_power_keeps_the_side() -> None:
    quiet = idle_device()
    quiet.stays(30, {**IDLE, "power_watts": 120.0})
    assert quiet.phase() == "idle"
    active = Watched()
    active.stays(5, {**IDLE, "utilization_ratio": 0.5, "power_watts": 300.0})
    active.stays(100, {**IDLE, "power_watts": 120.0})
    assert active.phase() == "unmanaged"


def test_grey_from_the_start_is_undecided() -> None:
    watched = Watched()
    watched.stays(100, {**IDLE, "power_watts": 120.0})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["undecided"])


def test_grey_power_after_a_missing_reading_keeps_no_side() -> None:
    watched = idle_device()
    watched.report(BUSY)  # made, and lost
    watched.stays(70, {**IDLE, "power_watts": 120.0})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["undecided"])


def test_a_standing_energy_counter_is_frozen() -> None:
    watched = Watched()
    for second in range(61):
        watched.stays(1, {**IDLE, "energy_joules_total": 1000.0 + 60 * second})
    assert watched.phase() == "idle"
    watched.stays(14, {**IDLE, "energy_joules_total": 4600.0})
    assert watched.phase() == "idle"
    watched.stays(1, {**IDLE, "energy_joules_total": 4600.0})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["frozen"])


def test_a_leak_at_first_sight_is_not_taken_for_the_base() -> None:
    watched = Watched()
    watched.stays(120, {**IDLE, "memory_usage_bytes": 30 * GIB})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["baseline_unaccepted"])
    watched.engine.accept(0, 60.0, 30 * GIB)
    watched.stays(62, {**IDLE, "memory_usage_bytes": 30 * GIB})
    assert watched.phase() == "idle"


def test_memory_left_behind_without_a_process_is_unmanaged() -> None:
    watched = idle_device()
    watched.stays(5, BUSY)
    watched.stays(120, {**IDLE, "memory_usage_bytes": 30 * GIB})
    assert (watched.phase(), watched.reasons()) == ("unmanaged", ["memory_held"])


def test_exempt_processes_hold_nothing() -> None:
    watched = Watched()
    watched.stays(62, {**IDLE, "processes": 1.0, "processes_exempt": 1.0})
    assert watched.phase() == "idle"
    watched.stays(1, {**IDLE, "processes": 2.0, "processes_exempt": 1.0})
    assert watched.phase() == "unmanaged"


@pytest.mark.parametrize(("code", "phase", "reason"), [
    (pb.REASON_LOST, "faulty", "device_lost"),
    (pb.REASON_RESET_REQUIRED, "faulty", "reset_required"),
    (pb.REASON_STUCK, "unknown", "reader_stuck"),
    (pb.REASON_DRIVER, "unknown", "driver_unusable"),
    (pb.REASON_QUIESCED, "unknown", "quiesced"),
    (pb.REASON_TIMEOUT, "unknown", "read_timeout"),
    (pb.REASON_NOT_PERMITTED, "unknown", "not_permitted"),
    (pb.REASON_FAILED, "unknown", "read_failed"),
])
def test_what_the_driver_says_is_known_at_once(code: int, phase: str, reason: str) -> None:
    watched = idle_device()
    watched.now += 1
    watched.says({}, reasons=[code])
    assert watched.phase() == phase
    assert reason in watched.reasons()


@pytest.mark.parametrize("action", [1.0, 2.0, 4.0, 9.0])
def test_a_device_whose_driver_asks_for_recovery_is_faulty(action: float) -> None:
    watched = Watched()
    watched.stays(62, {**IDLE, "recovery_action": 0.0})
    assert watched.phase() == "idle"
    watched.stays(1, {**IDLE, "recovery_action": action})
    assert (watched.phase(), watched.reasons()) == ("faulty", ["recovery_required"])


def test_a_device_that_nobody_may_use_is_not_idle() -> None:
    watched = Watched(device("g0", conditions=["compute_prohibited"]))
    watched.stays(120, IDLE)
    assert (watched.phase(), watched.reasons()) == ("unknown", ["compute_prohibited"])


def test_a_changed_driver_starts_everything_anew() -> None:
    watched = idle_device()
    watched.devices = (device("g0", driver_version="570.1"),)
    watched.hello()
    watched.stays(1, IDLE)
    assert watched.phase() == "verifying"


def test_one_device_of_a_node_does_not_blank_the_others() -> None:
    watched = Watched(device("g0"), device("g1"))
    watched.stays(62, IDLE, IDLE)
    watched.now += 1
    watched.says({}, IDLE, reasons=[pb.REASON_LOST, pb.REASON_OK])
    assert (watched.phase(0), watched.phase(1)) == ("faulty", "idle")


def test_a_process_that_is_told_counts_though_the_vendor_was_said_to_list_none() -> None:
    watched = Watched(device("g0", unsupported=["processes"]))
    watched.stays(62, {**IDLE, "processes": 1.0})
    assert watched.phase() == "unmanaged"
    assert "process_present" in watched.reasons()


def test_a_driver_that_answers_zeros_for_all_it_does_not_know_shows_no_idle_device() -> None:
    watched = Watched()
    watched.stays(62, dict.fromkeys(IDLE, 0.0))
    assert watched.phase() == "unknown"
    assert "witness_missing" in watched.reasons()


def test_a_device_that_its_node_says_is_unusable_is_so_before_its_next_reading() -> None:
    watched = Watched()
    watched.stays(62, IDLE)
    watched.devices = (device("g0", conditions=["compute_prohibited"]),)
    watched.hello()
    assert (watched.phase(), watched.reasons()) == ("unknown", ["compute_prohibited"])


@pytest.mark.parametrize(("whole", "reason", "phase"), [
    ({**IDLE, "recovery_action": 1.0}, 0, "faulty"),
    ({}, pb.REASON_LOST, "faulty"),
    ({}, pb.REASON_RESET_REQUIRED, "faulty"),
    ({}, pb.REASON_TIMEOUT, "unknown"),
])
def test_a_partition_is_no_better_than_its_board(whole: dict[str, float], reason: int, phase: str) -> None:
    watched = Watched(device("g0"), device("m0", parent="g0"))
    watched.stays(62, IDLE, IDLE)
    assert watched.phase(1) == "idle"
    watched.now += 1
    watched.says(whole, IDLE, reasons=[reason, 0])
    assert watched.phase(1) == phase


def test_a_partition_whose_board_is_not_there_is_not_as_quiet_as_it_was() -> None:
    part = device("m0", parent="g0")
    own = {name: value for name, value in IDLE.items() if name != "utilization_ratio"}
    watched = Watched(device("g0"), part)
    watched.stays(62, IDLE, own)
    assert watched.phase(1) == "idle"
    watched.devices = (part,)
    watched.hello()
    watched.stays(1, own)
    assert watched.phase(1) == "unknown"
    assert "witness_missing" in watched.reasons(1)


def test_a_partition_without_utilization_is_as_quiet_as_its_parent() -> None:
    part = device("m0", parent="g0", unsupported=["utilization_ratio"])
    watched = Watched(device("g0"), part)
    own = {**IDLE, "utilization_ratio": NAN}
    watched.stays(62, IDLE, own)
    assert watched.phase(1) == "idle"
    watched.stays(1, BUSY, own)
    assert watched.phase(1) == "unmanaged"


def test_absurd_values_are_not_known() -> None:
    watched = Watched()
    watched.stays(62, {**IDLE, "utilization_ratio": 42.0})
    assert watched.phase() == "unknown"
    assert watched.fleet.absurd_values == 62


def test_a_floor_is_learned_from_clean_readings_and_judged_by() -> None:
    watched = Watched(settings=IdleSettings(floor_clean_s=60.0))
    watched.stays(70, IDLE)
    state = watched.engine.state[0]
    assert state["floor_watts"] == pytest.approx(60.0, abs=1.6)
    assert watched.phase() == "idle"
    watched.stays(1, {**HOLDING, "power_watts": 110.0})  # above 1.7 x 60 W, far below the prior's 100 x 1.7
    assert "active" in watched.reasons()


def test_a_floor_beyond_the_models_idle_range_is_refused() -> None:
    watched = Watched(settings=IdleSettings(floor_clean_s=60.0, power_grey_s=30.0))
    watched.stays(100, {**IDLE, "power_watts": 130.0})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["baseline_unaccepted"])


def test_pinned_clocks_count_as_quiet_in_the_end() -> None:
    watched = Watched(settings=IdleSettings(floor_clean_s=60.0))
    watched.stays(70, IDLE)
    watched.stays(1, BUSY)
    watched.stays(599, {**IDLE, "power_watts": 90.0})
    assert watched.phase() == "unmanaged"
    watched.stays(2, {**IDLE, "power_watts": 90.0})
    assert watched.phase() == "verifying"
    watched.stays(60, {**IDLE, "power_watts": 90.0})
    assert watched.phase() == "idle"
