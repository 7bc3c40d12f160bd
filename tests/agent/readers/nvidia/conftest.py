from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.fixtures import nvml, nvml_library
from tests.simulators.nvml.simulator import Simulator

__all__ = ["nvml", "nvml_library"]


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """An empty /sys."""
    return tmp_path / "sys"


@pytest.fixture
def reader(nvml: Simulator, sysfs: Path) -> Iterator[RemoteReader]:
    """The nvidia reader on the simulated library, not yet opened."""
    remote = RemoteReader(nvml.environment, sysfs)
    yield remote
    remote.stop()
