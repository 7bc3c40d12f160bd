"""What ails a host, as its reader gives and tells it, and what that costs."""

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
import pytest

from fallow_agent.events import Events
from fallow_agent.happening import Happening
from fallow_agent.readers import host_health
from fallow_agent.readers.host import HostReader
from fallow_agent.readers.reader import Listens
from fallow_proto.metrics import Group
from fallow_proto.states import EventKind
from tests.agent.readers.host.adapters import Adapters

ROOT = "27 1 254:0 / / rw - ext4 /dev/vda {options}\n"


class Host:
    """A small host whose files a test can change."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.now = 1_000.0
        self.adapters = Adapters(self.sys)
        self.told: list[Happening] = []
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "cpuinfo").write_text("vendor_id\t: GenuineIntel\n")
        self.mounted()
        self.out_of_memory(3)
        self.process(1, "S")

    def opened(self) -> HostReader:
        reader = HostReader(proc=self.proc, sys=self.sys, node="node-7", clock=lambda: self.now)
        assert isinstance(reader, Listens)
        reader.open()
        reader.listen(self.told.extend, pytest.fail)
        return reader

    def mounted(self, options: str = "rw") -> None:
        (self.proc / "self/mountinfo").write_text(ROOT.format(options=options))

    def out_of_memory(self, times: int) -> None:
        (self.proc / "vmstat").write_text(f"nr_free_pages 17\noom_kill {times}\noom_kill_x 9\n")

    def process(self, pid: int, state: str) -> None:
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_text(f"{pid} (nvidia-smi) {state} " + " ".join(["1"] * 40) + "\n")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")
    return Host(tmp_path)


def read(reader: HostReader, group: Group) -> dict[str, float]:
    reading, = reader.read(group)
    return dict(reading.values)


def test_a_host_gives_what_ails_it_at_the_slower_paces(host: Host) -> None:
    host.adapters.count(host.adapters.port("mlx5_0/1"), link_downed=2, port_rcv_data=25)
    reader = host.opened()
    assert read(reader, Group.MEDIUM) == {
        "rdma_ports": 1, "rdma_ports_down": 0, "rdma_ports_slow": 0, "rdma_port_rate_bytes_per_second": 50e9,
        "oom_kills_total": 3,
    }
    slow = read(reader, Group.SLOW)
    assert set(slow) == set(reader.columns(Group.SLOW))
    assert (slow["rdma_link_downs_total"], slow["rdma_receive_bytes_total"]) == (2, 100)
    assert (slow["tasks_blocked"], slow["root_read_only"], slow["network_mounts"]) == (0, 0, 0)


def test_nothing_of_it_is_in_the_fast_group() -> None:
    assert not set(HostReader().columns(Group.FAST)) & {each for group in Group for each in host_health.COLUMNS[group]}


def test_a_port_that_goes_down_is_told(host: Host) -> None:
    folder = host.adapters.port("mlx5_0/1")
    reader = host.opened()
    read(reader, Group.MEDIUM)
    (folder / "state").write_text("1: DOWN\n")
    assert read(reader, Group.MEDIUM)["rdma_ports_down"] == 1
    assert [each.kind for each in host.told] == [EventKind.PORT_DOWN]


def test_processes_killed_since_the_last_look_are_one_happening_with_their_number(host: Host) -> None:
    reader = host.opened()
    read(reader, Group.MEDIUM)
    assert host.told == []
    host.out_of_memory(8)
    assert read(reader, Group.MEDIUM)["oom_kills_total"] == 8
    assert [(each.kind, each.times) for each in host.told] == [(EventKind.OOM_KILL, 5)]


def test_a_storm_of_killed_processes_is_one_event_that_grows(host: Host) -> None:
    reader, events = host.opened(), Events()
    for look in range(1, 31):  # five minutes
        host.out_of_memory(3 + 2 * look)
        read(reader, Group.MEDIUM)
        events.note(host.told[-1], 10_000 * look, 10.0 * look)
    event, = events.due(300.0)
    assert (event.kind, event.count, event.first_ms, event.last_ms) == ("oom_kill", 60, 10_000, 300_000)


def test_a_file_system_that_turns_read_only_is_told(host: Host) -> None:
    reader = host.opened()
    read(reader, Group.SLOW)
    host.mounted("ro,errors=remount-ro")
    assert read(reader, Group.SLOW)["var_read_only"] == 1
    assert [each.kind for each in host.told] == [EventKind.FILESYSTEM_READ_ONLY]


def test_a_process_that_hangs_in_the_driver_is_counted_after_five_minutes(host: Host) -> None:
    reader = host.opened()
    read(reader, Group.SLOW)
    host.process(77, "D")
    counted = []
    for _ in range(6):
        host.now += 60
        counted.append(read(reader, Group.SLOW)["tasks_blocked_driver"])
    assert counted == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("where", ["state", "counters/symbol_error"])
def test_an_adapter_that_hangs_leaves_its_columns_unknown_and_the_rest_goes_on(
    host: Host, where: str
) -> None:
    """A FIFO without a writer keeps whoever opens it in the kernel, as dead firmware does."""
    hung = host.adapters.port("mlx5_0/1") / where
    hung.unlink()
    os.mkfifo(hung)
    reader = host.opened()
    for _ in range(2):
        medium, slow = read(reader, Group.MEDIUM), read(reader, Group.SLOW)
        assert ("rdma_ports" in medium) is (where != "state")
        assert ("rdma_port_errors_total" in slow) is (where == "state")
        assert medium["oom_kills_total"] == 3
        assert slow["tasks_blocked"] == 0
    with hung.open("w") as writer:  # let the thread go
        writer.write("0\n")


def test_what_a_host_does_not_have_is_unsupported_until_it_comes(host: Host) -> None:
    (host.proc / "vmstat").write_text("nr_free_pages 17\n")
    reader = host.opened()
    identity, = reader.open()
    assert {"rdma_ports", "rdma_ports_down", "rdma_port_errors_total", "oom_kills_total"} <= identity.unsupported
    assert read(reader, Group.MEDIUM) == {}
    assert not reader.changed()
    host.adapters.port("mlx5_0/1")
    assert reader.changed()
    identity, = reader.open()
    assert "rdma_ports" not in identity.unsupported
    assert not reader.changed()


def test_a_host_whose_files_cannot_be_read_knows_nothing_of_its_health(host: Host) -> None:
    reader = host.opened()
    for name in ("vmstat", "self/mountinfo", "1/stat"):
        (host.proc / name).unlink()
    (host.proc / "1").rmdir()
    assert read(reader, Group.MEDIUM) == {}
    assert read(reader, Group.SLOW) == {}


def test_what_a_reading_opens_is_few_files_beside_one_a_process(host: Host) -> None:
    for number in range(8):
        host.adapters.port(f"mlx5_{number}/1")
    for pid in range(100, 150):
        host.process(pid, "S")
    reader = host.opened()
    assert opens(lambda: reader.read(Group.MEDIUM)) == 8 * 3 + 1
    assert opens(lambda: reader.read(Group.SLOW)) == 8 * 7 + 51 + 1


def opens(work: Callable[[], object]) -> int:
    """Files that are opened meanwhile, in whatever thread."""
    opened = _opened()
    opened.clear()
    work()
    return len(opened)


@cache
def _opened() -> list[str]:
    """An audit hook stays for good, so there is one."""
    opened: list[str] = []

    def note(event: str, _: object) -> None:
        if event == "open":
            opened.append(event)

    sys.addaudithook(note)
    return opened
