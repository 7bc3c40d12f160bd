"""What NVIDIA's lines in the kernel's log mean; the captured ones are real."""

import re
from collections import Counter
from pathlib import Path

import pytest

from fallow_agent.readers.attribution import NOWHERE
from fallow_agent.readers.kernel_nvidia import Said, told
from fallow_proto.states import EventKind

XID, SXID = EventKind.XID, EventKind.SXID
_STAMP = re.compile(r"(\[[^\]]+\] |kern +:\w+ +: \S+ |\d+,\d+,\d+,-;)")


def captured(shared_data: Path, name: str) -> list[Said]:
    """What is told by the lines of a capture, without the stamps that a tool put before them."""
    text = (shared_data / "fixtures" / "kmsg" / name).read_text()
    return [said for line in text.splitlines() if (said := told(_STAMP.sub("", line, count=1)))]


@pytest.mark.parametrize(
    ("text", "kind", "address", "code"),
    [
        ("NVRM: Xid (PCI:0000:9b:00): 31, pid=1234, name=python, Ch 00000008", XID, "0000:9b:00.0", 31),
        ("NVRM: Xid (PCI:0000:9B:00.0): 48, An uncorrectable double bit error", XID, "0000:9b:00.0", 48),
        ("NVRM: Xid (PCI:00010000:9b:00): 94, Contained", XID, "10000:9b:00.0", 94),
        ("NVRM: Xid (PCI:9b:00): 13, Graphics Exception", XID, "0000:9b:00.0", 13),
        ("NVRM: Xid (0000:9b:00): 13, Graphics Exception", XID, "0000:9b:00.0", 13),
        ("NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9)", XID,
         "0000:01:00.0", 94),
        ("NVRM: Xid (PCI:0000:3b:00 GPU-I:01 GPU-CI:02): 13, pid=9, name=a, x", XID, "0000:3b:00.0", 13),
        ("NVRM: Xid (PCI:0000:3b:00): 62", XID, "0000:3b:00.0", 62),
        ("NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x0)", XID,
         "0009:01:00.0", 149),
        ("NVRM: Xid (PCI:::): 31, pid=1", XID, "", 31),
        ("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress", SXID, "0000:05:00.0", 12028),
    ],
)
def test_a_fault_has_a_code_and_the_address_of_its_device(text: str, kind: EventKind, address: str, code: int) -> None:
    said = told(text)
    assert said is not None
    assert said._replace(place=NOWHERE) == Said(kind, address, code, " ".join(text.split()))


@pytest.mark.parametrize(
    "text",
    [
        "NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\n"
        "NVRM: fallen off the bus and is not responding to commands.",
        "NVRM: GPU at 0000:b3:00.0 has fallen off the bus",
        "NVRM: GPU 0000:b3:00.0: GPU has fallen off the bus.",
    ],
)
def test_a_device_that_fell_off_the_bus_is_an_xid_79_that_counts_once(text: str) -> None:
    assert told(text) == Said(XID, "0000:b3:00.0", 79, " ".join(text.split()), times=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVRM: Xid (PCI:0000:9b:00",
        "NVRM: Xid (PCI:0000:9b:00): ",
        "NVRM: Xid (PCI:0000:9b:00): 3a, pid=1",
        "NVRM: Xid (PCI:0000:9b:00): 99999999999, pid=1",
        "NVRM: GPU at PCI:0000:9b:00: GPU-509665ad-b600-ac93-3616-d754b23d636d",
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01",
        "NVRM: fallen off the bus",
        "usb 1-1: device has fallen off the bus 0000:b3:00.0",
        "systemd[1]: NVRM: Xid (PCI:0000:9b:00): 79, pid=1",
        "amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!",
        "Out of memory: Killed process 4242 (python)",
        "�\x00NVRM: Xid",
    ],
)
def test_other_lines_and_half_lines_mean_nothing(text: str) -> None:
    assert told(text) is None


def test_a_captured_gsp_timeout(shared_data: Path) -> None:
    said = captured(shared_data, "dmesg_xid119_gsp_timeout.log")
    assert Counter((each.kind, each.pci_bus_id, each.code) for each in said) == {(XID, "0000:9b:00.0", 119): 5}


def test_a_captured_nvlink_episode_of_four_boards(shared_data: Path) -> None:
    said = captured(shared_data, "xid_gb200_nvlink_episode.log")
    assert Counter((each.pci_bus_id, each.code) for each in said) == {
        ("0009:01:00.0", 149): 3, ("0009:01:00.0", 154): 1, ("0008:01:00.0", 149): 2, ("0008:01:00.0", 154): 1,
        ("0018:01:00.0", 154): 1, ("0019:01:00.0", 154): 1,
    }
    assert said[1].message.endswith("from 0x0 (None) to 0x4 (Drain and Reset)")


def test_captured_switch_faults(shared_data: Path) -> None:
    assert [(each.kind, each.pci_bus_id, each.code) for each in captured(shared_data, "dmesg_sxid_lines.log")] == [
        (SXID, "0000:05:00.0", 12028), (SXID, "0000:00:00.0", 20034)
    ]


@pytest.mark.parametrize("name", ["dmesg_vfs_file_max.log", "kmsg_nvswitch_open.kmsg"])
def test_captured_lines_without_a_fault(shared_data: Path, name: str) -> None:
    assert captured(shared_data, name) == []
