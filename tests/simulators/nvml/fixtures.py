"""Fixtures of the simulated NVML; a conftest.py imports the ones that its tests use."""

from pathlib import Path

import pytest

from tests.simulators.nvml.simulator import Simulator, build


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the simulated libnvidia-ml.so.1; tests that use it need the server mark "cc"."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path) -> Simulator:
    """A simulated library with a scenario of the test's own; without play() it finds no driver."""
    return Simulator(nvml_library, tmp_path / "scenario")
