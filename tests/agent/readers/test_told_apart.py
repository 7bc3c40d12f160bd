"""Devices of one name, or of none, as drivers and cloned machines tell of them."""

from dataclasses import replace

import pytest

from fallow_agent.readers.reader import DeviceIdentity
from fallow_agent.readers.told_apart import told_apart

BOARD = DeviceIdentity(uuid="GPU-1", vendor="acme", model="One", index=0)
OTHER = replace(BOARD, uuid="GPU-2", index=1)


def test_devices_of_names_of_their_own_are_all_there() -> None:
    part = replace(BOARD, uuid="MIG-1", parent="GPU-1")
    assert told_apart([BOARD, part, OTHER]) == ((BOARD, part, OTHER), ())


def test_of_two_devices_of_one_name_neither_is_given_the_others_readings() -> None:
    devices, problems = told_apart([BOARD, replace(BOARD, index=2), OTHER])
    assert devices == (OTHER,)
    assert problems == (
        "device 0 (One) is left out: its uuid 'GPU-1' is that of 2 devices",
        "device 2 (One) is left out: its uuid 'GPU-1' is that of 2 devices",
    )


@pytest.mark.parametrize("uuid", ["", "GPU 1", "GPU-1\n", "GPU-\x00", "GPU-\ufffd\u200b", "GPU-1\\"])
def test_a_device_without_a_name_is_left_out_and_no_other(uuid: str) -> None:
    devices, problems = told_apart([replace(BOARD, uuid=uuid), OTHER])
    assert devices == (OTHER,)
    assert len(problems) == 1
    assert repr(uuid) in problems[0]


def test_a_part_of_a_device_that_is_left_out_is_left_out() -> None:
    part = replace(BOARD, uuid="MIG-1", parent="")
    assert told_apart([replace(BOARD, uuid=""), replace(part, parent="GPU-9"), OTHER]).devices == (OTHER,)
