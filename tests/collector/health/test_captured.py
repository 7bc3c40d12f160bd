"""Kernel lines as they were captured give the incidents and actions that NVIDIA's documents ask for."""

import re
from pathlib import Path

import pytest

from fallow_collector.health.words import Action, Severity
from fallow_collector.state import EventRow
from fallow_proto.states import EventKind
from tests.collector.health.told import T0, event, folded

LINE = re.compile(r"(S?X)id \(PCI:([0-9a-f:.]+)\): (\d+), (.*)")
KIND = {"X": EventKind.XID, "SX": EventKind.SXID}


def told(path: Path) -> list[EventRow]:
    """The events of a captured log, a second apart, of devices by their addresses."""
    found = [match for line in path.read_text(errors="replace").splitlines() if (match := LINE.search(line))]
    return [
        event(int(match[3]), 1000 * n, match[4], KIND[match[1]], device=match[2]) for n, match in enumerate(found)
    ]


@pytest.mark.parametrize(("name", "expected"), [
    ("xid_gb200_nvlink_episode.log", {
        "0009:01:00": ("xid 154", Severity.FAILED, Action.RESET_DEVICE),
        "0008:01:00": ("xid 154", Severity.FAILED, Action.RESET_DEVICE),
        "0018:01:00": ("xid 154", Severity.FAILED, Action.RESET_DEVICE),
        "0019:01:00": ("xid 154", Severity.FAILED, Action.RESET_DEVICE),
    }),
    ("dmesg_sxid_lines.log", {
        "0000:05:00.0": ("sxid 12028", Severity.DEGRADED, Action.NONE),
        "0000:00:00.0": ("sxid 20034", Severity.FAILED, Action.RESTART_NODE),
    }),
    ("dmesg_xid119_gsp_timeout.log", {"0000:9b:00": ("xid 119", Severity.FAILED, Action.RESET_DEVICE)}),
    ("kmsg_nvswitch_open.kmsg", {}),
    ("dmesg_vfs_file_max.log", {}),
])
def test_a_captured_log_gives_one_incident_a_device(
    shared_data: Path, name: str, expected: dict[str, tuple[str, Severity, Action]]
) -> None:
    rows = told(shared_data / "fixtures" / "kmsg" / name)
    found = {}
    for address in {row.device for row in rows}:
        one, = folded(*(row for row in rows if row.device == address))
        found[address] = (one.rule, one.severity, one.action)
        assert one.since_ms >= T0
    assert found == expected
