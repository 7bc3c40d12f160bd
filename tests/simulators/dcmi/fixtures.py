"""Fixtures of the simulated DCMI; a conftest.py imports the ones that its tests use."""

from pathlib import Path

import pytest

from tests.simulators.dcmi.simulator import Simulator, build


@pytest.fixture(scope="session")
def dcmi_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the simulated libdcmi.so; tests that use it need the server mark "cc"."""
    return build(tmp_path_factory.mktemp("dcmi"))


@pytest.fixture
def dcmi(dcmi_library: Path, tmp_path: Path) -> Simulator:
    """A simulated library with a scenario of the test's own; without play() it finds no driver."""
    return Simulator(dcmi_library, tmp_path / "dcmi-scenario")
