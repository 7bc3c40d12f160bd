"""Devices that are on their node's bus and that no reader reads."""

import pytest

from fallow_collector.fleet.registry import Identity
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import IDLE, Watched, device

ADDRESS = "0000:17:00.0"


def on_bus(condition: str = "unread", **more: object) -> pb.Device:
    return device("pci-1", **{
        "model": "pci 10de:2330", "pci_bus_id": ADDRESS, "driver_version": "", "conditions": [condition], **more,
    })


def say(watched: Watched, *devices: pb.Device) -> None:
    """Its agent's next Hello; readings go on to be of the devices that it began with."""
    watched.fleet.hello(
        pb.Hello(wire=1, node=watched.node, site="s1", epoch=watched.epoch, devices=devices, interval_s=1.0),
        watched.now, watched.WALL + watched.now,
    )


def present(watched: Watched) -> dict[str, bool]:
    fleet = watched.fleet
    return {fleet.identities[row].uuid: bool(fleet.present[row]) for row in range(fleet.count) if fleet.alive[row]}


@pytest.mark.parametrize("condition", ["unread", "passthrough"])
def test_what_no_reader_reads_is_live_with_its_node_and_unknown_for_ever(condition: str) -> None:
    watched = Watched(device("g0"))
    say(watched, device("g0"), on_bus(condition))
    watched.stays(62, IDLE)
    assert watched.phase(0) == "idle"
    assert (watched.phase(1), watched.reasons(1)) == ("unknown", [condition])
    assert watched.assess().freshness[0] == watched.assess().freshness[1]


def test_with_its_node_it_falls_silent() -> None:
    watched = Watched(device("g0"))
    say(watched, device("g0"), on_bus())
    watched.stays(3, IDLE)
    watched.now += 60
    assert (watched.phase(1), watched.reasons(1)) == ("unknown", ["lost"])


def test_a_device_that_a_reader_names_later_is_not_there_twice() -> None:
    watched = Watched(device("g1"))
    say(watched, device("g1"), on_bus())
    assert present(watched) == {"g1": True, "pci-1": True}
    say(watched, device("g1"), device("g0", pci_bus_id=ADDRESS))
    assert present(watched) == {"g1": True, "g0": True}


def test_a_device_that_its_reader_cannot_name_any_more_keeps_its_name_and_is_not_idle() -> None:
    watched = Watched(device("g0", pci_bus_id=ADDRESS), device("g1"))
    watched.stays(62, IDLE, IDLE)
    assert watched.phase() == "idle"
    say(watched, on_bus(), device("g1"))
    assert present(watched) == {"g0": True, "g1": True}
    assert (watched.phase(), watched.reasons()) == ("unknown", ["unread"])
    say(watched, device("g0", pci_bus_id=ADDRESS), device("g1"))
    assert watched.phase() != "idle"
    watched.stays(59, IDLE, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(2, IDLE, IDLE)
    assert watched.phase() == "idle"


def test_another_vendors_device_at_the_same_place_is_another_device() -> None:
    watched = Watched(device("g0", pci_bus_id=ADDRESS))
    say(watched, on_bus(vendor="ascend"))
    assert present(watched) == {"g0": False, "pci-1": True}


def test_what_was_never_read_is_not_kept_over_a_restart() -> None:
    watched = Watched(device("g1"))
    say(watched, device("g1"), on_bus())
    say(watched, device("g1"))
    assert present(watched) == {"g1": True, "pci-1": False}
    assert {watched.fleet.identities[row].uuid for row in watched.fleet.changed} == {"g1"}
    assert Identity(uuid="x", conditions=("unread",)).is_unread
    assert not Identity(uuid="x", conditions=("compute_prohibited",)).is_unread
