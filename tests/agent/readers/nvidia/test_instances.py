"""MIG: the instances of a board are devices, with the board as their parent."""

from collections import Counter
from dataclasses import replace

import pytest

from fallow_agent.readers.attribution import Place
from fallow_agent.readers.nvml_instances import profile_in, profile_of
from fallow_agent.readers.reader import DeviceIdentity, Process, Reading
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.collector import wait_for
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import MIB, Instance, Scenario, h100, partitioned
from tests.simulators.nvml.scenario import Process as Held
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

GIB = 2**30
BOARD = h100(0)
SMALL = Instance("MIG-5d0b6b0a-8a44-5fd5-9e50-1f6d8c1a0001", 7)
LARGE = Instance(
    "MIG-5d0b6b0a-8a44-5fd5-9e50-1f6d8c1a0002", 1, name="NVIDIA H100 80GB HBM3 MIG 3g.40gb", slices=(3, 3),
    memory_total_bytes=40_448 * MIB, memory_used_bytes=20_000 * MIB, sm_active_percent=75.0,
    compute_processes=(Held(4_242, 19_000 * MIB),),
)
OWN = {"memory_usage_bytes", "memory_limit_bytes", "processes", "compute_active_ratio"}


def test_instances_are_named_after_their_board(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((partitioned(BOARD, SMALL, None, LARGE), h100(1))))
    board, small, large, other = reader.open()
    given = {name for group in Group for name in reader.columns(group)}
    assert (board.uuid, board.parent, board.partition_profile) == (BOARD.uuid, "", "")
    assert (other.uuid, other.parent) == (h100(1).uuid, "")
    assert small == DeviceIdentity(
        uuid=SMALL.uuid,
        vendor="nvidia",
        model="NVIDIA H100 80GB HBM3",
        index=0,
        parent=BOARD.uuid,
        partition_profile="1g.10gb",
        driver_version="580.95.05",
        unsupported=frozenset(given - OWN),
        mode="mig=1 ecc=1",
        place=Place(7, 0),
    )
    assert large == replace(small, uuid=LARGE.uuid, partition_profile="3g.40gb", place=Place(1, 0))


def test_an_instance_says_what_is_its_own_and_no_more(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((partitioned(BOARD, SMALL, LARGE),)))
    reader.open()
    first: list[Reading] = []

    def sampled() -> bool:
        first[:] = reader.read(Group.FAST)
        return all("compute_active_ratio" in reading.values for reading in first[1:])

    wait_for(sampled, "samples a second apart")
    board, small, large = first
    assert "compute_active_ratio" not in board.values
    assert board.values["power_watts"] == pytest.approx(68.12)
    assert small == Reading(SMALL.uuid, {
        "memory_usage_bytes": 12 * MIB, "memory_limit_bytes": 9_728 * MIB, "processes": 0, "compute_active_ratio": 0,
    })
    assert large == Reading(LARGE.uuid, {
        "memory_usage_bytes": 20_000 * MIB, "memory_limit_bytes": 40_448 * MIB, "processes": 1,
        "compute_active_ratio": 0.75,
    }, processes=(Process(4_242, 19_000.0 * MIB),))
    assert [reading.values for reading in reader.read(Group.MEDIUM)[1:]] == [{}, {}]


def test_an_instance_without_gpm_declares_its_activity_unsupported(reader: RemoteReader, nvml: Simulator) -> None:
    board = replace(BOARD, sm_active_percent=None)
    nvml.play(Scenario((partitioned(board, replace(SMALL, sm_active_percent=None)),)))
    _, small = reader.open()
    assert OWN & small.unsupported == {"compute_active_ratio"}


def test_a_fast_tick_is_two_calls_an_instance_beside_gpm_and_six_their_board(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((partitioned(BOARD, SMALL, replace(SMALL, uuid="MIG-b", gpu_instance=8)),)))
    reader.open()
    reader.read(Group.FAST)
    before = nvml.calls()
    reader.read(Group.FAST)
    assert Counter(nvml.calls()) - Counter(before) == {
        "nvmlDeviceGetFieldValues": 1,
        "nvmlDeviceGetClockInfo": 2,
        "nvmlDeviceGetMemoryInfo_v2": 3,
        "nvmlDeviceGetComputeRunningProcesses_v3": 3,
        "nvmlDeviceGetGraphicsRunningProcesses_v3": 1,
    }


@pytest.mark.parametrize("after", [
    (SMALL,),
    (SMALL, LARGE, replace(SMALL, uuid="MIG-another", gpu_instance=8)),
    (SMALL, replace(LARGE, uuid="MIG-another")),
    (SMALL, replace(LARGE, gpu_instance=2)),
    (SMALL, replace(LARGE, name="NVIDIA H100 80GB HBM3 MIG 4g.40gb")),
    (LARGE, SMALL),
])
def test_a_board_that_is_cut_anew_is_a_change_and_named_anew(
    reader: RemoteReader, nvml: Simulator, after: tuple[Instance, ...]
) -> None:
    nvml.play(Scenario((partitioned(BOARD, SMALL, LARGE),)))
    reader.open()
    assert not reader.changed()
    nvml.change(0, instances=after)
    assert reader.changed()
    assert [device.uuid for device in reader.open()] == [BOARD.uuid, *(instance.uuid for instance in after)]
    assert not reader.changed()


def test_an_instance_that_is_destroyed_says_nothing_and_its_siblings_go_on(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((partitioned(BOARD, SMALL, LARGE),)))
    reader.open()
    nvml.change(0, instances=(None, LARGE))
    board, small, large = reader.read(Group.FAST)
    assert small == Reading(SMALL.uuid, reason=Reason.REASON_FAILED)
    assert [reading.reason for reading in (board, large)] == [Reason.REASON_OK, Reason.REASON_OK]
    assert reader.changed()


def test_an_instance_that_cannot_be_named_is_left_out_until_it_can_be(reader: RemoteReader, nvml: Simulator) -> None:
    nameless = replace(SMALL, faults={"nvmlDeviceGetUUID": 999})
    nvml.play(Scenario((partitioned(BOARD, nameless, LARGE),)))
    assert [device.uuid for device in reader.open()] == [BOARD.uuid, LARGE.uuid]
    assert not reader.changed()
    nvml.change(0, instances=(SMALL, LARGE))
    assert reader.changed()


def test_mig_that_is_switched_on_or_off_changes_the_devices(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((BOARD,)))
    assert len(reader.open()) == 1
    nvml.play(Scenario((partitioned(BOARD, SMALL),)))
    assert reader.changed()
    assert len(reader.open()) == 2
    nvml.play(Scenario((BOARD,)))
    assert reader.changed()
    assert len(reader.open()) == 1


@pytest.mark.parametrize(
    ("name", "profile"),
    [("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", "1g.10gb+me"), ("NVIDIA H100 80GB HBM3", "1g.10gb")],
)
def test_the_profile_is_in_the_name_or_else_in_the_attributes(
    reader: RemoteReader, nvml: Simulator, name: str, profile: str
) -> None:
    nvml.play(Scenario((partitioned(BOARD, replace(SMALL, name=name)),)))
    assert reader.open()[1].partition_profile == profile


def test_an_instance_of_no_profile_is_left_out_for_it_would_count_as_a_whole_board(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((partitioned(BOARD, replace(SMALL, name="NVIDIA H100 80GB HBM3", slices=(0, 0)), LARGE),)))
    assert [device.uuid for device in reader.open()] == [BOARD.uuid, LARGE.uuid]


def test_profiles_are_spelled_as_nvidia_does() -> None:
    h100_bytes, a100_bytes = 81_559 * MIB, 40_536 * MIB
    assert profile_of(1, 1, 9_728 * MIB, h100_bytes) == "1g.10gb"
    assert profile_of(1, 1, 19_968 * MIB, h100_bytes) == "1g.20gb"
    assert profile_of(3, 1, 40_192 * MIB, h100_bytes) == "1c.3g.40gb"
    assert profile_of(7, 7, 80_896 * MIB, h100_bytes) == "7g.80gb"
    assert profile_of(1, 1, 4_864 * MIB, a100_bytes) == "1g.5gb"
    for absurd in ((0, 0, GIB, h100_bytes), (1, 2, GIB, h100_bytes), (2**32 - 1, 1, GIB, h100_bytes),
                   (1, 1, 0, h100_bytes), (1, 1, 2 * h100_bytes, h100_bytes)):
        assert profile_of(*absurd) == ""
    assert profile_in("NVIDIA A100-SXM4-80GB MIG 1g.10gb") == "1g.10gb"
    assert profile_in("NVIDIA H100 80GB HBM3") == ""
