"""A backup that is put back: wholly, or not at all."""

import resource
from pathlib import Path

import pytest

from fallow_collector.backup import archive
from fallow_collector.backup.errors import BackupError
from fallow_collector.backup.restore import restore


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    (tmp_path / "from" / "store").mkdir(parents=True)
    (tmp_path / "from" / "store" / "hot").write_bytes(bytes(3_000_000))
    archive.write(tmp_path / "backup.tar", tmp_path / "from", ["store/hot"], "1.2.3", 0.0)
    return tmp_path / "backup.tar"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def test_a_disk_that_is_full_is_named_and_the_folder_is_as_empty_as_it_was(backup: Path, state: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(BackupError, match="state cannot take the backup: File too large; make room there"):
            restore(backup, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in state.iterdir()] == ["lock"]
    restore(backup, state)
    assert (state / "store" / "hot").stat().st_size == 3_000_000


def test_a_folder_that_holds_anything_is_left_as_it_is(backup: Path, state: Path) -> None:
    (state / "leases.sqlite").write_bytes(b"somebody's")
    with pytest.raises(BackupError, match=r"is not empty \(leases.sqlite\)"):
        restore(backup, state)
    assert sorted(path.name for path in state.iterdir()) == ["leases.sqlite", "lock"]
