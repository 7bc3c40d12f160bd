"""The host's reader on trees of /proc and /sys as other machines have them, and on this very machine."""

import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fallow_agent.readers import host_jobs
from fallow_agent.readers.host import HostReader
from fallow_agent.readers.reader import DeviceIdentity, ReaderError
from fallow_proto.metrics import BY_NAME, Group
from tests.agent.readers.contract import ReaderContract

TREES = Path(__file__).parents[3] / "data" / "host"
XEON = "xeon_cgroup2_slurm"

Machine = Callable[..., "Opened"]


class Opened:
    """A reader on a copy of a tree, on which time can go on."""

    def __init__(self, root: Path, own_pids: tuple[int, ...]) -> None:
        self.root = root
        self.now = 100.0
        self.reader = HostReader(
            proc=root / "proc", sys=root / "sys", machine_id=root / "machine-id", node="node-7", cores=4,
            own_pids=lambda: own_pids, clock=lambda: self.now,
        )
        self.identity: DeviceIdentity = self.reader.open()[0]

    def read(self) -> dict[str, float]:
        reading, = self.reader.read(Group.FAST)
        assert reading.uuid == self.identity.uuid
        return dict(reading.values)

    def later(self, seconds: float = 1.0) -> None:
        self.now += seconds
        for path in self.root.rglob("*.later"):
            shutil.copy(path, path.with_suffix(""))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")  # put back when the test is over

    def open_copy(name: str, own_pids: tuple[int, ...] = ()) -> Opened:
        return Opened(Path(shutil.copytree(TREES / name, tmp_path / name)), own_pids)

    return open_copy


@pytest.mark.parametrize(
    ("tree", "vendor", "model", "unsupported"),
    [
        (XEON, "intel", "Intel(R) Xeon(R) Platinum 8480+", set()),
        (
            "epyc_cgroup1_slurm_no_psi", "amd", "AMD EPYC 7763 64-Core Processor",
            {"power_watts", "energy_joules_total", "cpu_pressure_ratio"},
        ),
        (
            "kunpeng_cgroup2_kubernetes", "hisilicon", "CPU part 0xd01",
            {"power_watts", "energy_joules_total", "temperature_celsius"},
        ),
        (
            "hygon_bare", "hygon", "Hygon C86 7285 32-core Processor",
            {"power_watts", "energy_joules_total", "temperature_celsius", "cpu_pressure_ratio"},
        ),
    ],
)
def test_a_host_says_what_it_is_and_what_it_cannot_tell(
    machine: Machine, tree: str, vendor: str, model: str, unsupported: set[str]
) -> None:
    identity = machine(tree).identity
    assert (identity.vendor, identity.model, identity.index) == (vendor, model, 0)
    assert identity.device_class == "general"
    assert identity.unsupported & set(HostReader().columns(Group.FAST)) == unsupported


@pytest.mark.parametrize(
    ("tree", "processes"),
    [(XEON, 5), ("epyc_cgroup1_slurm_no_psi", 2), ("kunpeng_cgroup2_kubernetes", 3), ("hygon_bare", None)],
)
def test_processes_of_jobs_are_counted_and_unknown_without_a_control_group_tree(
    machine: Machine, tree: str, processes: int | None
) -> None:
    assert machine(tree).read().get("job_processes") == processes


def test_a_node_on_which_slurm_idles_runs_no_job(machine: Machine) -> None:
    opened = machine(XEON)
    for job in ("system.slice/slurmstepd.scope/job_7", "machine.slice"):
        shutil.rmtree(opened.root / "sys/fs/cgroup" / job)
    assert opened.read()["job_processes"] == 0


def test_a_job_group_that_cannot_be_read_makes_the_count_unknown(machine: Machine) -> None:
    opened = machine(XEON)
    unreadable = opened.root / "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/cgroup.procs"
    unreadable.unlink()
    unreadable.mkdir()
    assert "job_processes" not in opened.read()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slurm", True), ("slurm_node7", True), ("slurmstepd.scope", True), ("node7_slurmstepd.scope", True),
        ("kubepods", True), ("kubepods.slice", True), ("kubelet-kubepods.slice", True), ("machine.slice", True),
        ("slurmd.service", False), ("slurmctld.service", False), ("kubelet.service", False), ("system.slice", False),
    ],
)
def test_groups_of_jobs_are_told_from_groups_of_daemons(name: str, expected: bool) -> None:
    assert host_jobs.is_job_group(name) is expected


def test_the_first_reading_knows_no_difference_and_does_not_say_zero(machine: Machine) -> None:
    first = machine(XEON).read()
    assert not {"utilization_ratio", "cpu_busy_cores", "power_watts"} & set(first)
    assert first["cpu_cores"] == 4


def test_busy_is_everything_but_idle_and_waiting_for_disks_and_includes_what_was_stolen(machine: Machine) -> None:
    opened = machine(XEON)
    opened.read()
    opened.later()
    second = opened.read()
    # Of 400 ticks: 150 user, 10 nice, 30 system, 10 stolen; 190 idle, 10 waiting. Guests are part of user.
    assert second["utilization_ratio"] == pytest.approx(200 / 400)
    assert second["cpu_busy_cores"] == pytest.approx(4 * 200 / 400)


def test_the_agents_own_work_is_left_out_also_that_of_a_process_that_is_new(machine: Machine) -> None:
    opened = machine(XEON, own_pids=(4242, 4250, 4999))
    opened.read()
    opened.later()
    own = (3 + 1) + (4 + 2)
    assert opened.read()["cpu_busy_cores"] == pytest.approx(4 * (200 - own) / 400)


def test_counters_that_stand_still_leave_the_use_unknown(machine: Machine) -> None:
    opened = machine(XEON)
    opened.read()
    assert "utilization_ratio" not in opened.read()


def test_memory_in_use_is_what_new_work_could_not_have(machine: Machine) -> None:
    values = machine(XEON).read()
    assert values["memory_limit_bytes"] == 527988412 * 1024
    assert values["memory_available_bytes"] == 498123412 * 1024
    assert values["memory_usage_bytes"] == (527988412 - 498123412) * 1024


def test_pressure_is_a_ratio(machine: Machine) -> None:
    assert machine(XEON).read()["cpu_pressure_ratio"] == pytest.approx(0.0075)


def test_power_is_that_of_all_packages_also_when_a_counter_wraps(machine: Machine) -> None:
    opened = machine(XEON)
    first = opened.read()
    opened.later(2.0)
    second = opened.read()
    used = (328_850 + 99_328_850 + 100_343_850) / 1e6  # one package's counter came round
    assert second["power_watts"] == pytest.approx(used / 2)
    assert second["energy_joules_total"] - first["energy_joules_total"] == pytest.approx(used)


def test_after_a_gap_in_which_counters_may_have_come_round_more_than_once_power_is_unknown(machine: Machine) -> None:
    opened = machine(XEON)
    opened.read()
    opened.later(3600.0)
    assert "power_watts" not in opened.read()


def test_an_energy_counter_that_vanished_leaves_power_unknown(machine: Machine) -> None:
    opened = machine(XEON)
    opened.read()
    (opened.root / "sys/class/powercap/intel-rapl:1/energy_uj").unlink()
    opened.now += 1
    values = opened.read()
    assert not {"power_watts", "energy_joules_total"} & set(values)
    assert "memory_usage_bytes" in values


@pytest.mark.parametrize(("tree", "celsius"), [(XEON, 54.0), ("epyc_cgroup1_slurm_no_psi", 61.25)])
def test_temperature_is_that_of_the_hottest_package(machine: Machine, tree: str, celsius: float) -> None:
    assert machine(tree).read()["temperature_celsius"] == celsius


def test_a_host_without_proc_says_so(machine: Machine) -> None:
    opened = machine(XEON)
    (opened.root / "proc/stat").unlink()
    with pytest.raises(ReaderError, match=r"proc/stat cannot be read: .*is /proc mounted"):
        opened.reader.read(Group.FAST)
    (opened.root / "proc/cpuinfo").unlink()
    with pytest.raises(ReaderError, match=r"proc/cpuinfo cannot be read"):
        opened.reader.open()


def test_all_columns_of_the_fast_group_are_given(machine: Machine) -> None:
    opened = machine(XEON)
    opened.read()
    opened.later()
    assert set(opened.read()) == set(opened.reader.columns(Group.FAST))


class TestContract(ReaderContract):
    @pytest.fixture
    def reader(self, monkeypatch: pytest.MonkeyPatch) -> HostReader:
        monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")
        return HostReader()


def test_this_very_machine_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")
    reader = HostReader()
    identity, = reader.open()
    reader.read(Group.FAST)
    reading, = reader.read(Group.FAST)
    assert identity.vendor != "unknown"
    assert {"memory_usage_bytes", "memory_limit_bytes", "cpu_cores"} <= set(reading.values)
    for name, value in reading.values.items():
        assert BY_NAME[name].low <= value <= BY_NAME[name].high
