"""The machine of this folder's tests, made once and gone with them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.booted.machine import Machine
from tests.deploy.booted.root import CannotMakeRoot, build_wheel, download, make_root, python_of
from tests.deploy.booted.services import BOARDS, DRIVER, Services, binds
from tests.simulators.nvml.simulator import build

IN_CI = os.environ.get("CI", "") == "true"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Half a gigabyte, so it goes at once."""
    folder = tmp_path_factory.mktemp("booted")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def root(folder: Path) -> Path:
    root = folder / "root"
    try:
        if os.geteuid() != 0:
            raise CannotMakeRoot("a machine of its own needs root")
        make_root(root)
    except CannotMakeRoot as error:
        if IN_CI:
            raise
        pytest.skip(str(error))
    return root


@pytest.fixture(scope="module")
def releases(folder: Path) -> Path:
    """Wheels of this release, "now", and of the next one."""
    build_wheel(folder / "releases" / "now")
    build_wheel(folder / "releases" / "next", "99.0")
    return folder / "releases"


@pytest.fixture(scope="module")
def installed(folder: Path, root: Path, releases: Path) -> Iterator[Services]:
    """Both services run on the booted machine, and its boards are idle."""
    download(folder / "dependencies", python_of(root))
    with Machine(root, binds(folder / "dependencies", releases)) as machine:
        driver = root / DRIVER.removeprefix("/")
        driver.mkdir(parents=True)
        build(driver)
        services = Services(machine)
        # The node that install.sh finds: it then lets the agent at the driver's devices and at the kernel's log.
        machine.run("touch", "/dev/nvidia0")
        services.install("now")
        services.start()
        services.wait_for_idle(BOARDS)
        yield services
