import pytest

from fallow_client.views.devices import unique_length
from fallow_client.views.text import (
    age,
    counts,
    duration,
    label_of,
    metric,
    moment,
    number,
    plain,
    some,
    standing,
    unit_of,
)
from fallow_proto.metrics import METRICS


def test_what_is_not_known_is_a_dash_and_never_zero() -> None:
    assert [number(None), age(None), plain(None), plain(""), moment(None), metric("power_watts", None)] == ["–"] * 6
    assert number(0.0) == "0"


@pytest.mark.parametrize(("name", "value", "label", "text"), [
    ("utilization_ratio", 0.125, "utilization %", "12.5"),
    ("memory_usage_bytes", 2.0**36, "memory usage GiB", "64.0"),
    ("power_watts", 71.6, "power W", "72"),
    ("energy_joules_total", 7.2e6, "energy kWh", "2.00"),
    ("temperature_celsius", 30.6, "temperature °C", "31"),
    ("clock_hertz", 1.98e9, "clock MHz", "1980"),
    ("throttle_power_seconds_total", 3.25, "throttle power s", "3.2"),
    ("io_receive_bytes_total", 2.0**30, "io receive GiB", "1.0"),
    ("link_symbol_error_ratio", 2.5e-11, "link symbol errors per 10^12", "25.0"),
    ("rdma_port_rate_bytes_per_second", 5e10, "rdma port rate GB/s", "50.0"),
    ("pcie_replays_total", 3.0, "pcie replays", "3"),
    ("cpu_busy_cores", 1.25, "cpu busy cores", "1.2"),
    ("processes", 2.0, "processes", "2"),
])
def test_a_metric_is_shown_in_the_unit_that_its_label_names(name: str, value: float, label: str, text: str) -> None:
    assert (label_of(name), metric(name, value)) == (label, text)


def test_every_metric_that_ends_in_a_unit_is_shown_in_one() -> None:
    bare = [one.name for one in METRICS if not unit_of(one.name).ending]
    assert bare == [
        "processes", "processes_exempt", "recovery_action",
        "persistence_mode", "remapped_rows_corrected", "remapped_rows_uncorrected", "remap_pending", "remap_failed",
        "retired_pages_corrected", "retired_pages_uncorrected", "retirement_pending", "retired_pages",
        "memory_unrepairable", "sram_threshold_exceeded", "pcie_generation",
        "pcie_lanes", "pcie_generation_limit", "pcie_lanes_limit", "links", "links_inactive", "fabric_state",
        "fabric_health_mask", "fabric_health", "fabric_bandwidth_degraded", "fabric_route_unhealthy",
        "fabric_route_recovering", "fabric_access_recovering", "fabric_misconfigured",
        "job_processes",
        "rdma_ports", "rdma_ports_down", "rdma_ports_slow", "tasks_blocked", "tasks_blocked_driver",
        "root_read_only", "var_read_only",
        "network_mounts", "network_mounts_down",
    ]


def test_text_from_elsewhere_commands_no_terminal() -> None:
    assert plain("\x1b[2J\x07hello\n\u202e[red]") == "?[2J?hello??[red]"


def test_moments_of_the_same_day_are_times_of_day() -> None:
    assert moment("2026-03-01T11:30:00.000Z", "2026-03-01T12:00:00.250Z") == "11:30:00"
    assert moment("2026-02-28T11:30:00.000Z", "2026-03-01T12:00:00.250Z") == "2026-02-28 11:30:00"


def test_counts_put_the_most_first() -> None:
    assert counts({"absent": 2, "stale": 3, "lost": 2}) == "3 stale, 2 absent, 2 lost"


@pytest.mark.parametrize(("complete", "oldest_ms", "missing", "expected"), [
    (True, 800, {}, "as of T, oldest evidence 0.8 s, complete"),
    (False, 800, {"stale": 3, "absent": 2}, "as of T, oldest evidence 0.8 s, INCOMPLETE: 3 stale, 2 absent"),
    (False, None, {}, "as of T, no evidence, INCOMPLETE"),
])
def test_every_answer_says_how_old_and_how_complete_it_is(
    complete: bool, oldest_ms: int | None, missing: dict[str, int], expected: str
) -> None:
    assert standing("T", complete, oldest_ms, missing) == expected


@pytest.mark.parametrize(("uuids", "length"), [
    ([], 12),
    (["GPU-1"], 12),
    (["x", "x"], 12),
    (["GPU-1", "GPU-1-MIG-0"], 12),
    (["GPU-12345678-a", "GPU-22345678-a"], 12),
    (["GPU-12345678-aaaa", "GPU-12345678-aaba"], 16),
    (["a" * 20, "a" * 20 + "b"], 21),
])
def test_uuids_are_cut_to_what_still_tells_them_apart(uuids: list[str], length: int) -> None:
    assert unique_length(uuids) == length
    distinct = set(uuids)
    assert len({uuid[:length] for uuid in distinct}) == len(distinct)


@pytest.mark.parametrize(("seconds", "text"), [
    (None, "–"), (0.2, "0 s"), (59.6, "1 min"), (90.0, "1 min 30 s"), (7200.0, "2 h"), (90_061.0, "1 d 1 h"),
])
def test_durations_are_told_in_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_one_is_not_many() -> None:
    assert [some(n, "device") for n in (0, 1, 2)] == ["0 devices", "1 device", "2 devices"]
