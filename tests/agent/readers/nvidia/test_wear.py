"""What ails a board: what the nvidia reader reads at the medium and the slow pace."""

from collections import Counter
from dataclasses import replace

import pytest
from pynvml import nvmlUnrepairableMemory_v1

from fallow_agent.readers.nvml_fabric import by_mask
from fallow_agent.readers.nvml_memory import flag_in
from fallow_proto.metrics import Group
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import NOT_OF_H100, Device, Fabric, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

UNTOLD = 0xFFFFFFFF


def play(reader: RemoteReader, nvml: Simulator, *devices: Device) -> None:
    nvml.play(Scenario(devices))
    reader.open()


def test_a_medium_tick_is_seven_calls_a_device_and_a_slow_one_eight(reader: RemoteReader, nvml: Simulator) -> None:
    play(reader, nvml, h100(0), h100(1))
    before = nvml.calls()
    reader.read(Group.MEDIUM)
    medium = nvml.calls()
    reader.read(Group.SLOW)
    assert Counter(medium) - Counter(before) == {
        "nvmlDeviceGetFieldValues": 4,  # of the device, and of its links
        "nvmlDeviceGetEnforcedPowerLimit": 2,
        "nvmlDeviceGetMarginTemperature": 2,
        "nvmlDeviceGetCurrPcieLinkGeneration": 2,
        "nvmlDeviceGetCurrPcieLinkWidth": 2,
        "nvmlDeviceGetGpuFabricInfoV": 2,
    }
    assert Counter(nvml.calls()) - Counter(medium) == {
        "nvmlDeviceGetFieldValues": 4,
        "nvmlDeviceGetTemperatureThreshold": 2,
        "nvmlDeviceGetPersistenceMode": 2,
        "nvmlDeviceGetMaxPcieLinkGeneration": 2,
        "nvmlDeviceGetMaxPcieLinkWidth": 2,
        "nvmlDeviceGetUnrepairableMemoryFlag_v1": 2,
        "nvmlDeviceGetSramEccErrorStatus": 2,
    }


WORN = replace(
    h100(0),
    throttle_brake_nanoseconds=500_000_000,
    ecc_corrected=7, ecc_uncorrected=1, ecc_corrected_lifetime=70, ecc_uncorrected_lifetime=10,
    remapped_rows=(2, 1, 1, 0),
    temperature_margin_celsius=-3,
    pcie_generation=1, pcie_lanes=8,
    nvlink_states=(1, 2, 0, 3), nvlink_errors={161: 5, 162: 6, 163: 7},
    fabric=Fabric(2, "0" * 32, 0, health=0b0110, summary=2),
    memory_unrepairable=1, sram_threshold_exceeded=1,
)


def test_what_ails_a_board_is_read_at_the_medium_and_the_slow_pace(reader: RemoteReader, nvml: Simulator) -> None:
    play(reader, nvml, WORN)
    (medium,), (slow,) = reader.read(Group.MEDIUM), reader.read(Group.SLOW)
    assert medium.values == {
        "power_limit_watts": 700, "temperature_margin_celsius": -3, "throttle_brake_seconds_total": 0.5,
        "ecc_corrected_total": 7, "ecc_uncorrected_total": 1, "pcie_generation": 1, "pcie_lanes": 8,
        "links": 4, "links_inactive": 2, "fabric_state": 2, "fabric_health_mask": 6,
        "fabric_health": 2, "fabric_bandwidth_degraded": 0, "fabric_route_recovering": 1,
    }
    assert slow.values == {
        "power_limit_default_watts": 700, "persistence_mode": 1, "temperature_slowdown_celsius": 87,
        "ecc_corrected_lifetime_total": 70, "ecc_uncorrected_lifetime_total": 10,
        "remapped_rows_corrected": 2, "remapped_rows_uncorrected": 1, "remap_pending": 1, "remap_failed": 0,
        "memory_unrepairable": 1, "sram_threshold_exceeded": 1,
        "pcie_generation_limit": 5, "pcie_lanes_limit": 16,
        "link_replays_total": 20, "link_recoveries_total": 24, "link_crc_errors_total": 28,
    }


def test_boards_before_ampere_retire_pages_and_those_of_nvlink_5_count_otherwise(
    reader: RemoteReader, nvml: Simulator
) -> None:
    old = replace(h100(0), remapped_rows=None, retired_pages=(63, 1, 1), nvlink_states=())
    new = replace(h100(1), nvlink_states=(1, 1), nvlink_errors={162: 0, 208: 4, 215: 3})
    play(reader, nvml, old, new)
    first, second = reader.read(Group.SLOW)
    assert {name: value for name, value in first.values.items() if name.startswith("retire")} == {
        "retired_pages_corrected": 63, "retired_pages_uncorrected": 1, "retired_pages": 64,
        "retirement_pending": 1,
    }
    assert not {"remap_pending", "link_crc_errors_total"} & set(first.values)
    assert second.values["link_receive_errors_total"] == 8
    assert second.values["link_recoveries_total"] == 6
    assert "links" not in reader.read(Group.MEDIUM)[0].values


def test_a_link_that_does_not_tell_leaves_the_number_of_inactive_ones_unknown(
    reader: RemoteReader, nvml: Simulator
) -> None:
    play(reader, nvml, h100(0))
    nvml.change(0, raw={"field.165.7": "error 999", "field.163.7": "ull 4294967295"})
    (medium,), (slow,) = reader.read(Group.MEDIUM), reader.read(Group.SLOW)
    assert medium.values["links"] == 18
    assert "links_inactive" not in medium.values
    assert "link_crc_errors_total" not in slow.values
    assert slow.values["link_replays_total"] == 0


INVENTED = [
    ({"field.3": "ull 18446744073709551615"}, "ecc_corrected_total"),
    ({"field.4": "ull 9223372036854775807"}, "ecc_uncorrected_total"),
    ({"field.4": "ull 140000000000000"}, "ecc_uncorrected_total"),
    ({"field.6": "ull 4294967295"}, "ecc_uncorrected_lifetime_total"),
    ({"field.142": "uint 4294967295"}, "remapped_rows_corrected"),
    ({"field.144": "uint 2"}, "remap_pending"),
    ({"pcie_lanes": "4294967295"}, "pcie_lanes"),
    ({"temperature_margin": "-1000"}, "temperature_margin_celsius"),
    ({"temperature_slowdown": "4294967295"}, "temperature_slowdown_celsius"),
    ({"memory_unrepairable": "4294967295"}, "memory_unrepairable"),
    ({"sram_threshold_exceeded": "4294967295"}, "sram_threshold_exceeded"),
    ({"fabric_summary": "255"}, "fabric_health"),
    ({"fabric_summary": "0"}, "fabric_health"),  # nvml.h: not supported
]


@pytest.mark.parametrize(("raw", "metric"), INVENTED)
def test_what_a_driver_invents_of_wear_is_absent(
    reader: RemoteReader, nvml: Simulator, raw: dict[str, str | None], metric: str
) -> None:
    play(reader, nvml, replace(h100(0), raw=raw))
    values = {**reader.read(Group.MEDIUM)[0].values, **reader.read(Group.SLOW)[0].values}
    slower = {name for group in (Group.MEDIUM, Group.SLOW) for name in reader.columns(group)}
    assert slower - set(values) == {metric} | NOT_OF_H100


def test_a_driver_that_knows_the_older_fabric_structure_only_tells_all_but_its_summary(
    reader: RemoteReader, nvml: Simulator
) -> None:
    play(reader, nvml, replace(h100(0), fabric=Fabric(3, "0" * 32, 0, newest=2)))
    values = reader.read(Group.MEDIUM)[0].values
    assert (values["fabric_state"], values["fabric_bandwidth_degraded"]) == (3, 0)
    assert "fabric_health" not in values
    assert "fabric_health" in reader.open()[0].unsupported


@pytest.mark.parametrize(("mask", "told"), [
    (0, {"fabric_health_mask": 0}),
    (0b01_10_10_10_10, {
        "fabric_health_mask": 0x1AA, "fabric_bandwidth_degraded": 0, "fabric_route_unhealthy": 0,
        "fabric_route_recovering": 0, "fabric_access_recovering": 0, "fabric_misconfigured": 0,
    }),
    (0b0101_01_01_01_01, {
        "fabric_health_mask": 0x555, "fabric_bandwidth_degraded": 1, "fabric_route_unhealthy": 1,
        "fabric_route_recovering": 1, "fabric_access_recovering": 1, "fabric_misconfigured": 5,
    }),
    (0b11, {"fabric_health_mask": 3}),  # nvml.h gives 3 no meaning
    (0xFFFFFFFF, {}),
])
def test_the_parts_of_a_fabric_mask_are_told_where_the_driver_supports_them(
    mask: int, told: dict[str, float]
) -> None:
    assert by_mask(mask) == told


SOUND, WORN_OUT = 0xFFF, 3 << 8 | 9  # 15e-255, 3e-9


def test_the_worst_link_of_nvlink_5_gives_the_error_ratio(reader: RemoteReader, nvml: Simulator) -> None:
    board = replace(h100(0), nvlink_states=(1, 1, 1), nvlink_errors={220: SOUND, 222: SOUND})
    play(reader, nvml, board)
    assert reader.read(Group.SLOW)[0].values["link_symbol_error_ratio"] == pytest.approx(15e-255)
    nvml.change(0, raw={"field.222.1": f"uint {WORN_OUT}"})
    values = reader.read(Group.SLOW)[0].values
    assert values["link_symbol_error_ratio"] == pytest.approx(3e-9)
    assert values["link_effective_error_ratio"] == pytest.approx(15e-255)


@pytest.mark.parametrize("said", ["error 999", "uint 4294967295", "uint 4096", "double nan"])
def test_while_one_link_does_not_tell_its_errors_the_worst_is_not_known(
    reader: RemoteReader, nvml: Simulator, said: str
) -> None:
    board = replace(h100(0), nvlink_states=(1, 1, 1), nvlink_errors={220: SOUND, 222: WORN_OUT})
    play(reader, nvml, replace(board, raw={"field.222.2": said}))
    values = reader.read(Group.SLOW)[0].values
    assert "link_symbol_error_ratio" not in values
    assert "link_effective_error_ratio" in values


@pytest.mark.parametrize(("words", "flag"), [
    ((1, UNTOLD), 1),  # by nvml.h: the flag alone
    ((0, UNTOLD), 0),
    ((nvmlUnrepairableMemory_v1, 1), 1),  # by the binding: behind the version
    ((nvmlUnrepairableMemory_v1, UNTOLD), UNTOLD),
])
def test_the_flag_of_unrepairable_memory_is_found_whichever_structure_the_library_keeps_to(
    words: tuple[int, int], flag: int
) -> None:
    assert flag_in(*words) == flag


def test_an_agent_that_is_not_root_does_not_know_the_state_of_the_sram(reader: RemoteReader, nvml: Simulator) -> None:
    play(reader, nvml, replace(h100(0), faults={"nvmlDeviceGetSramEccErrorStatus": 4}))
    (slow,) = reader.read(Group.SLOW)
    assert "sram_threshold_exceeded" not in slow.values
    assert "sram_threshold_exceeded" not in reader.open()[0].unsupported
