from dataclasses import replace

import pytest

from tests.agent.readers.contract import ReaderContract
from tests.simulators.nvml.scenario import Instance, Scenario, h100, partitioned
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")


class TestEightBoards(ReaderContract):
    @pytest.fixture(autouse=True)
    def scenario(self, nvml: Simulator) -> None:
        nvml.play(Scenario(tuple(h100(number) for number in range(8))))


class TestOneOldBoardAndOneLost(ReaderContract):
    @pytest.fixture(autouse=True)
    def scenario(self, nvml: Simulator) -> None:
        old = replace(
            h100(0), serial=None, minor=None, ecc=None, mig=None, compute_mode=None, power_milliwatts=None,
            power_limit_milliwatts=None, energy_millijoules=None, graphics_processes=None, mps_processes=None,
        )
        lost = replace(h100(1), faults={"nvmlDeviceGetUtilizationRates": 15})
        nvml.play(Scenario((old, lost)))


class TestOneBoardInPartitionsAndOneWhole(ReaderContract):
    @pytest.fixture(autouse=True)
    def scenario(self, nvml: Simulator) -> None:
        nvml.play(Scenario((partitioned(h100(0), Instance("MIG-a", 1), None, Instance("MIG-b", 2)), h100(1))))
