"""Kernel lines as they were captured, through the agent's own parser and the collector's board, give the incidents and
actions that NVIDIA's documents ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow_collector.health.words import Action, Severity
from tests.collector.health.agent_side import AgentSide, records
from tests.collector.health.clinic import FULL, Clinic
from tests.collector.watching import device

Verdict = tuple[str, Severity, Action, str]

BOARDS = ("0008:01:00.0", "0009:01:00.0", "0018:01:00.0", "0019:01:00.0", "0000:9b:00.0")
RESET: Verdict = ("xid 154", Severity.FAILED, Action.RESET_DEVICE, "failed")
LINK_DOWN = "Xid 149: NVLink NETIR error: NETIR_LINK_EVT on link {}, NVIDIA: RESET_GPU, INVESTIGATE_PEER_DEVICE"
TO_RESET = "Xid 154: recovery action changed"


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    made = Clinic(tmp_path)
    made.node.devices = tuple(device(address, model="NVIDIA GB200") for address in BOARDS)
    made.node.hello()
    made.size = len(BOARDS)
    yield made
    made.state.close()


def heard(clinic: Clinic, path: Path) -> None:
    """The whole log, a record a second."""
    agent = AgentSide(BOARDS)
    for record in records(path):
        clinic.stays(1, *(FULL,) * len(BOARDS))
        agent.reads(record, clinic.ms() + round(clinic.node.WALL * 1000), clinic.node.now)
        clinic.tell(*agent.sends(clinic.node.now))


@pytest.mark.parametrize(("name", "expected"), [
    ("xid_gb200_nvlink_episode.log", {"0008:01:00.0": RESET, "0009:01:00.0": RESET, "0018:01:00.0": RESET,
                                      "0019:01:00.0": RESET}),
    ("dmesg_xid119_gsp_timeout.log", {"0000:9b:00.0": ("xid 119", Severity.FAILED, Action.RESET_DEVICE, "failed")}),
    # Of a switch, so of every board of the node.
    ("dmesg_sxid_lines.log", dict.fromkeys(BOARDS, ("sxid 20034", Severity.FAILED, Action.RESTART_NODE, "failed"))),
    ("kmsg_nvswitch_open.kmsg", {}),
    ("dmesg_vfs_file_max.log", {}),
])
def test_a_captured_log_gives_one_incident_a_device(
    clinic: Clinic, shared_data: Path, name: str, expected: dict[str, Verdict]
) -> None:
    heard(clinic, shared_data / "fixtures" / "kmsg" / name)
    found = {
        address: (one.rule, one.severity, one.action, clinic.health(clinic.node.fleet.find(address) or 0))
        for address in BOARDS for one in clinic.open(address)
    }
    assert found == expected


def test_the_links_of_an_episode_are_named_in_its_evidence(clinic: Clinic, shared_data: Path) -> None:
    heard(clinic, shared_data / "fixtures" / "kmsg" / "xid_gb200_nvlink_episode.log")
    evidence = {address: [each.what for each in clinic.open(address)[0].evidence] for address in BOARDS[:4]}
    assert evidence == {
        "0009:01:00.0": [LINK_DOWN.format(1), TO_RESET, LINK_DOWN.format(0), LINK_DOWN.format(15)],
        "0008:01:00.0": [LINK_DOWN.format(1), LINK_DOWN.format(14), TO_RESET],
        "0019:01:00.0": [TO_RESET],
        "0018:01:00.0": [TO_RESET],
    }
