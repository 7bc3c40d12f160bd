from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.dcmi.fixtures import dcmi, dcmi_library
from tests.simulators.dcmi.simulator import Simulator

__all__ = ["dcmi", "dcmi_library"]


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """An empty /sys."""
    return tmp_path / "sys"


@pytest.fixture
def reader(dcmi: Simulator, sysfs: Path) -> Iterator[RemoteReader]:
    """The ascend reader on the simulated library, not yet opened."""
    remote = RemoteReader(dcmi.environment, sysfs, "ascend")
    yield remote
    remote.stop()
