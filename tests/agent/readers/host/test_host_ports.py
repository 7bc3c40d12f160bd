"""Ports and their counters on a tree of /sys."""

import shutil
from pathlib import Path

import pytest

from fallow_agent.happening import Happening
from fallow_agent.readers import host_port_counters, host_ports
from fallow_proto.states import EventKind
from tests.agent.readers.host.adapters import Adapters


class Watched:
    def __init__(self, sys: Path) -> None:
        self._sys = sys
        self._watch = host_ports.PortWatch()

    def look(self) -> tuple[host_ports.Count, list[Happening]]:
        found = host_ports.found(self._sys)
        happened = self._watch.take(found)
        return self._watch.count(found), happened


@pytest.fixture
def adapters(tmp_path: Path) -> Adapters:
    return Adapters(tmp_path)


def test_a_port_that_was_never_active_is_not_cabled_and_does_not_count(adapters: Adapters, tmp_path: Path) -> None:
    adapters.port("mlx5_0/1")
    adapters.port("mlx5_1/1", "1: DOWN")
    assert Watched(tmp_path).look() == ((1, 0), [])


@pytest.mark.parametrize("state", ["1: DOWN", "2: INIT", "3: ARMED"])
def test_a_port_that_goes_and_comes_back_is_told_each_time_once(
    adapters: Adapters, tmp_path: Path, state: str
) -> None:
    folder = adapters.port("mlx5_0/1")
    watched = Watched(tmp_path)
    watched.look()
    (folder / "state").write_text(f"{state}\n")
    (folder / "rate").write_text("10 Gb/sec (4X SDR)\n")
    count, (down,) = watched.look()
    assert count == (1, 1)
    assert (down.kind, down.device, down.code) == (EventKind.PORT_DOWN, "", 0)
    word = state.partition(": ")[2]
    assert down.message == f"port mlx5_0/1 (InfiniBand, 400 Gb/sec (4X NDR)) went from ACTIVE to {word}"
    assert watched.look() == ((1, 1), [])
    (folder / "state").write_text("4: ACTIVE\n")
    count, (up,) = watched.look()
    assert count == (1, 0)
    assert (up.kind, up.code) == (EventKind.PORT_UP, 0)
    assert up.message == f"port mlx5_0/1 (InfiniBand, 10 Gb/sec (4X SDR)) went from {word} to ACTIVE"


def test_ports_that_flap_together_are_told_apart_by_their_place(adapters: Adapters, tmp_path: Path) -> None:
    folders = [adapters.port(f"mlx5_{number}/1") for number in range(3)]
    watched = Watched(tmp_path)
    watched.look()
    for folder in folders[1:]:
        (folder / "state").write_text("1: DOWN\n")
    _, happened = watched.look()
    assert [each.code for each in happened] == [1, 2]


def test_an_adapter_that_vanished_is_down(adapters: Adapters, tmp_path: Path) -> None:
    adapters.port("mlx5_0/1")
    adapters.port("mlx5_1/1", link_layer="Ethernet")
    watched = Watched(tmp_path)
    watched.look()
    shutil.rmtree(tmp_path / "class/infiniband/mlx5_1")
    count, (gone,) = watched.look()
    assert count == (2, 1)
    assert gone.message == "port mlx5_1/1 (Ethernet, 400 Gb/sec (4X NDR)) went from ACTIVE to gone"


def test_a_port_that_does_not_say_is_neither_up_nor_down(adapters: Adapters, tmp_path: Path) -> None:
    folder = adapters.port("mlx5_0/1")
    watched = Watched(tmp_path)
    watched.look()
    (folder / "state").write_bytes(b"\xff\xfe")
    assert watched.look() == ((1, None), [])
    (folder / "state").write_text("4: ACTIVE\n")
    assert watched.look() == ((1, 0), [])


def test_a_host_without_adapters_has_no_ports(tmp_path: Path) -> None:
    assert Watched(tmp_path).look() == ((0, 0), [])


def test_counters_are_summed_over_the_ports_and_words_become_bytes(adapters: Adapters, tmp_path: Path) -> None:
    one, other = adapters.port("mlx5_0/1"), adapters.port("mlx5_1/1")
    adapters.count(one, symbol_error=5, port_rcv_errors=2, link_downed=1, port_rcv_data=1_000, port_xmit_data=10)
    adapters.count(other, local_link_integrity_errors=3, excessive_buffer_overrun_errors=4, port_rcv_data=500)
    assert host_port_counters.PortCounters().take(host_port_counters.found(tmp_path)) == {
        "rdma_port_errors_total": 14, "rdma_link_downs_total": 1, "rdma_receive_bytes_total": 6_000,
        "rdma_transmit_bytes_total": 40,
    }


def test_no_sum_falls_when_a_port_is_reset_or_vanishes(adapters: Adapters, tmp_path: Path) -> None:
    one, other = adapters.port("mlx5_0/1"), adapters.port("mlx5_1/1")
    adapters.count(one, link_downed=7)
    adapters.count(other, link_downed=2)
    counters = host_port_counters.PortCounters()
    assert counters.take(host_port_counters.found(tmp_path))["rdma_link_downs_total"] == 9
    adapters.count(one, link_downed=1)
    assert counters.take(host_port_counters.found(tmp_path))["rdma_link_downs_total"] == 10
    shutil.rmtree(tmp_path / "class/infiniband/mlx5_1")
    assert counters.take(host_port_counters.found(tmp_path))["rdma_link_downs_total"] == 10


@pytest.mark.parametrize("found", ["N/A (no PMA)", "4294967295", "18446744073709551615", ""])
def test_what_a_port_does_not_know_is_not_counted_as_traffic(
    adapters: Adapters, tmp_path: Path, found: str
) -> None:
    adapters.count(adapters.port("mlx5_0/1"), port_rcv_data=found, port_xmit_data=25)
    adapters.port("mlx5_1/1")
    values = host_port_counters.PortCounters().take(host_port_counters.found(tmp_path))
    assert "rdma_receive_bytes_total" not in values
    assert values["rdma_transmit_bytes_total"] == 100


def test_a_driver_that_counts_nothing_leaves_the_sums_to_the_others(adapters: Adapters, tmp_path: Path) -> None:
    adapters.count(adapters.port("mlx5_0/1"), link_downed=3)
    shutil.rmtree(adapters.port("efa_0/1") / "counters")
    assert host_port_counters.PortCounters().take(host_port_counters.found(tmp_path))["rdma_link_downs_total"] == 3
    shutil.rmtree(tmp_path / "class/infiniband/mlx5_0")
    assert host_port_counters.PortCounters().take(host_port_counters.found(tmp_path)) == {}
