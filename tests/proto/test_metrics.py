"""The metric table keeps to its own rules."""

import re

from fallow_proto.metrics import COLUMN, METRICS, NAMES, Kind

UNITS = ("_ratio", "_bytes", "_watts", "_celsius", "_hertz", "_cores", "_action", "_bytes_per_second")
COUNTS = (
    "processes", "processes_exempt", "job_processes",
    "persistence_mode", "remapped_rows_corrected", "remapped_rows_uncorrected", "remap_pending", "remap_failed",
    "retired_pages_corrected", "retired_pages_uncorrected", "retirement_pending", "retired_pages",
    "memory_unrepairable", "sram_threshold_exceeded", "pcie_generation", "pcie_lanes",
    "pcie_generation_limit", "pcie_lanes_limit", "links", "links_inactive", "fabric_state", "fabric_health_mask",
    "fabric_health", "fabric_bandwidth_degraded", "fabric_route_unhealthy", "fabric_route_recovering",
    "fabric_access_recovering", "fabric_misconfigured",
    "rdma_ports", "rdma_ports_down", "rdma_ports_slow", "tasks_blocked", "tasks_blocked_driver",
    "root_read_only", "var_read_only",
    "network_mounts", "network_mounts_down",
)


def test_names_are_unique_and_in_the_order_of_the_columns() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [COLUMN[name] for name in NAMES] == list(range(len(NAMES)))


def test_counters_end_in_total_and_gauges_in_their_unit() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
        if metric.kind is Kind.COUNTER:
            assert metric.name.endswith("_total"), metric.name
        else:
            assert metric.name.endswith(UNITS) or metric.name in COUNTS, metric.name


def test_every_metric_says_what_it_is_within_which_bounds() -> None:
    for metric in METRICS:
        assert metric.help.endswith("."), metric.name
        assert metric.low < metric.high, metric.name
        assert not metric.name.endswith("_ratio") or (metric.low, metric.high) == (0.0, 1.0), metric.name
