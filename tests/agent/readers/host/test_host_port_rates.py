"""The speed of InfiniBand and RoCE ports, on a tree of /sys."""

import shutil
from pathlib import Path

import pytest

from fallow_agent.readers import host_ports
from fallow_agent.readers.host_port_rates import PortRates, bytes_per_second
from tests.agent.readers.host.adapters import Adapters


@pytest.fixture
def adapters(tmp_path: Path) -> Adapters:
    return Adapters(tmp_path)


@pytest.mark.parametrize(("text", "rate"), [
    ("400 Gb/sec (4X NDR)", 50e9),
    ("2.5 Gb/sec (1X SDR)", 0.3125e9),
    ("25 Gb/sec (1X EDR)", 3.125e9),
    ("0 Gb/sec (4X)", None),
    ("-1 Gb/sec", None),
    ("nan Gb/sec", None),
    ("inf Gb/sec", None),
    ("400 Mb/sec", None),
    ("400", None),
    ("N/A", None),
    ("", None),
])
def test_a_rate_is_bytes_a_second_or_not_known(text: str, rate: float | None) -> None:
    assert bytes_per_second(text) == rate


def test_a_port_that_comes_up_slower_than_before_is_slow_until_it_is_as_fast_again(
    adapters: Adapters, tmp_path: Path
) -> None:
    folder, _ = adapters.port("mlx5_0/1"), adapters.port("mlx5_1/1")
    rates = PortRates()
    assert rates.take(host_ports.found(tmp_path)) == {"rdma_ports_slow": 0, "rdma_port_rate_bytes_per_second": 50e9}
    (folder / "rate").write_text("100 Gb/sec (1X NDR)\n")
    assert rates.take(host_ports.found(tmp_path)) == {
        "rdma_ports_slow": 1, "rdma_port_rate_bytes_per_second": 12.5e9,
    }
    (folder / "rate").write_text("400 Gb/sec (4X NDR)\n")
    assert rates.take(host_ports.found(tmp_path))["rdma_ports_slow"] == 0


def test_a_port_that_is_not_active_is_neither_slow_nor_the_slowest(adapters: Adapters, tmp_path: Path) -> None:
    folder, _ = adapters.port("mlx5_0/1"), adapters.port("mlx5_1/1")
    rates = PortRates()
    rates.take(host_ports.found(tmp_path))
    (folder / "state").write_text("1: DOWN\n")
    (folder / "rate").write_text("10 Gb/sec (4X SDR)\n")
    assert rates.take(host_ports.found(tmp_path)) == {"rdma_ports_slow": 0, "rdma_port_rate_bytes_per_second": 50e9}
    shutil.rmtree(tmp_path / "class/infiniband/mlx5_1")
    assert rates.take(host_ports.found(tmp_path)) == {"rdma_ports_slow": 0}


@pytest.mark.parametrize(("file", "text"), [("rate", "half a l"), ("state", "")])
def test_while_one_port_does_not_say_nothing_is_known_of_all(
    adapters: Adapters, tmp_path: Path, file: str, text: str
) -> None:
    folder, _ = adapters.port("mlx5_0/1"), adapters.port("mlx5_1/1")
    (folder / file).write_text(text)
    assert PortRates().take(host_ports.found(tmp_path)) == {}
