from dataclasses import replace

import pytest

from tests.agent.readers.contract import ReaderContract
from tests.simulators.dcmi.scenario import AICORE, VECTOR_CORE, Chip, Scenario, ascend_910b2
from tests.simulators.dcmi.simulator import Simulator

pytestmark = pytest.mark.server("cc")


class TestEightChips(ReaderContract):
    @pytest.fixture(autouse=True)
    def scenario(self, dcmi: Simulator) -> None:
        dcmi.play(Scenario(tuple(ascend_910b2(number) for number in range(8))))


class TestOneCardOfTwoChipsWithoutHbmAndOneChipLost(ReaderContract):
    @pytest.fixture(autouse=True)
    def scenario(self, dcmi: Simulator) -> None:
        chip = Chip(
            card=3, name="310P3", die="1 2 3 4 5", pci="0000:01:00.0", hbm_mebibytes=None, ddr_mebibytes=44_280,
            ddr_available_mebibytes=42_000, power_deciwatts=None, processes=None,
            utilization_percent={AICORE: 0, VECTOR_CORE: 0},
        )
        second = replace(chip, chip=1, physical=1, die="1 2 3 4 6", pci="0000:01:00.1")
        lost = replace(ascend_910b2(4), faults={"dcmi_get_device_utilization_rate": -8008})
        dcmi.play(Scenario((chip, second, lost), driver_version=None))
