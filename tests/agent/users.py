"""Another user's view of a folder, for what root never meets."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65_534


@contextmanager
def another_user() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """One that everybody may look into; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="fallow-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
