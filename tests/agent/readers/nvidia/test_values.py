"""NVML's answers become metrics: pure tables."""

import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest

from fallow_agent.readers.nvml_values import (
    Answer,
    FieldId,
    choose,
    failure_of,
    fields_of_rows,
    known,
    memory_in_use,
    merge,
    reason_of,
    rows_of,
    settle,
)
from fallow_agent.readers.reader import Process
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason

ROWS = rows_of(Group.FAST)
NOT_SUPPORTED, INVALID_ARGUMENT, UNKNOWN = 3, 2, 999
MIB = 2**20


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, Reason.REASON_OK),
        (1, Reason.REASON_DRIVER),
        (4, Reason.REASON_NOT_PERMITTED),
        (9, Reason.REASON_DRIVER),
        (10, Reason.REASON_TIMEOUT),
        (11, Reason.REASON_TIMEOUT),
        (15, Reason.REASON_LOST),
        (16, Reason.REASON_RESET_REQUIRED),
        (17, Reason.REASON_FAILED),
        (18, Reason.REASON_DRIVER),
        (999, Reason.REASON_FAILED),
        (12345, Reason.REASON_FAILED),
    ],
)
def test_a_return_code_has_one_meaning(code: int, reason: Reason.ValueType) -> None:
    assert reason_of(code) == reason


@pytest.mark.parametrize(
    ("metric", "raw", "scale", "value"),
    [
        ("power_watts", 68_120, 1e-3, 68.12),
        ("temperature_celsius", -5, 1.0, -5.0),
        ("utilization_ratio", 100, 0.01, 1.0),
    ],
)
def test_a_number_is_given_in_the_base_unit(metric: str, raw: float, scale: float, value: float) -> None:
    assert known(metric, raw, scale) == {metric: pytest.approx(value)}


@pytest.mark.parametrize(
    ("metric", "raw", "scale"),
    [
        ("energy_joules_total", 0xFFFFFFFFFFFFFFFF, 1e-3),
        ("energy_joules_total", 0xFFFFFFFF, 1e-3),
        ("temperature_celsius", -1, 1.0),
        ("temperature_celsius", 10_000, 1.0),
        ("temperature_celsius", float("nan"), 1.0),
        ("power_watts", float("inf"), 1e-3),
        ("power_watts", 4_000_000_000, 1e-3),
        ("utilization_ratio", 101, 0.01),
    ],
)
def test_not_available_and_the_impossible_are_not_known(metric: str, raw: float, scale: float) -> None:
    assert known(metric, raw, scale) == {}


def answers(**changes: Answer) -> dict[FieldId, Answer]:
    """All fields answer 1000, except those of the keywords _<number>."""
    return {field: changes.get(f"_{field.field}", Answer(0, 1000)) for field in fields_of_rows(ROWS)}


def test_all_fields_are_settled_in_base_units() -> None:
    said = answers(_308=Answer(0, 61.25), _82=Answer(0, 70), _230=Answer(0, 4))
    assert settle(choose(ROWS, said), said) == pytest.approx({
        "power_watts": 1.0,
        "energy_joules_total": 1.0,
        "temperature_celsius": 61.25,
        "memory_temperature_celsius": 70.0,
        "throttle_power_seconds_total": 1e-6,
        "throttle_thermal_seconds_total": 2e-6,
        "pcie_replays_total": 1000.0,
        "link_receive_bytes_total": 1_024_000.0,
        "link_transmit_bytes_total": 1_024_000.0,
        "recovery_action": 4.0,
    })


def test_averaged_power_stands_in_where_the_instant_is_unsupported() -> None:
    said = answers(_186=Answer(NOT_SUPPORTED), _185=Answer(0, 300_000))
    assert settle(choose(ROWS, said), said)["power_watts"] == pytest.approx(300.0)


def test_averaged_power_does_not_stand_in_for_an_instant_that_failed_once() -> None:
    said = answers(_186=Answer(UNKNOWN))
    assert "power_watts" not in settle(choose(ROWS, said), said)


def test_a_field_that_an_older_driver_takes_for_an_invalid_argument_is_unsupported() -> None:
    said = answers(_308=Answer(INVALID_ARGUMENT))
    assert "temperature_celsius" not in [row.metric for row in choose(ROWS, said)]


def test_thermal_slowdown_of_older_drivers_is_one_counter() -> None:
    said = answers(_270=Answer(NOT_SUPPORTED), _75=Answer(0, 5_000_000_000))
    assert settle(choose(ROWS, said), said)["throttle_thermal_seconds_total"] == pytest.approx(5.0)


def test_half_of_a_sum_is_not_known() -> None:
    chosen = choose(ROWS, answers())
    assert "throttle_thermal_seconds_total" not in settle(chosen, answers(_270=Answer(UNKNOWN)))
    assert "throttle_thermal_seconds_total" not in settle(chosen, answers(_270=Answer(0, 2**64 - 1)))


@pytest.mark.parametrize(
    ("codes", "partial", "failure"),
    [
        ([0, 0], True, None),
        ([0, 4], True, None),  # one field is not permitted, others are known
        ([4, 4], False, 4),
        ([4, 15], True, 15),  # lost outweighs what was still answered
        ([0, 10], True, 10),
        ([0, 9], True, 9),
        ([0, 0], False, None),  # answered, but nothing that can be
    ],
)
def test_many_answers_fail_as_one_only_when_nothing_is_known_or_the_device_is_gone(
    codes: list[int], partial: bool, failure: int | None
) -> None:
    assert failure_of(codes, partial=partial) == failure


def test_memory_in_use_leaves_out_what_the_driver_reserves_whichever_way_it_counts() -> None:
    assert memory_in_use(total=100, reserved=5, free=85, used=10) == 10
    assert memory_in_use(total=100, reserved=5, free=85, used=15) == 10
    assert memory_in_use(total=100, reserved=0, free=90, used=10) == 10


def test_boards_print_memory_that_is_used_beside_what_is_reserved(shared_data: Path) -> None:
    """So `used` of nvmlMemory_v2_t is what someone allocated, within rounding to MiB."""
    seen = 0
    for capture in sorted((shared_data / "fixtures/nvidia_smi_xml").glob("*.xml")):
        for board in Xml.parse(capture).getroot().iter("gpu"):
            memory = {part.tag: int((part.text or "").split()[0]) for part in board.find("fb_memory_usage") or ()}
            if "reserved" in memory:
                assert abs(memory["total"] - memory["reserved"] - memory["used"] - memory["free"]) <= 3, capture.name
                assert memory_in_use(**memory) == memory["used"], capture.name
                seen += 1
    assert seen >= 4


def test_a_process_in_several_lists_counts_once_with_its_largest_memory() -> None:
    compute = [Process(7, 5.0 * MIB), Process(3, 1.0 * MIB)]
    graphics = [Process(7, 6.0 * MIB)]
    assert merge([compute, graphics]) == (Process(3, 1.0 * MIB), Process(7, 6.0 * MIB))


def test_a_process_in_several_partitions_has_the_sum() -> None:
    assert merge([[Process(7, 5.0), Process(7, 6.0)]]) == (Process(7, 11.0),)


def test_memory_that_one_list_does_not_know_is_not_known() -> None:
    assert merge([[Process(7, None)], [Process(7, 6.0)]]) == (Process(7, None),)
    assert merge([[Process(7, 6.0), Process(7, None)]]) == (Process(7, None),)
