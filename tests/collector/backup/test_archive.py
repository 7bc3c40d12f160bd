"""The file of a backup: whole, or refused."""

import io
import resource
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fallow_collector.backup import archive
from fallow_collector.backup.errors import BackupError

NAMES = ("state.sqlite", "store/parquet/a.parquet")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes([number]) * 3_000_000)
    path = tmp_path / "backup.tar"
    archive.write(path, root, NAMES, "1.2.3", 0.0)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "restored"
    made.mkdir()
    return made


def test_what_was_written_comes_back_byte_for_byte(backup: Path, folder: Path) -> None:
    manifest = archive.extract(backup, folder)
    assert (manifest.fallow, manifest.made) == ("1.2.3", "1970-01-01T00:00:00.000Z")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(NAMES)
    assert [(folder / name).read_bytes()[:1] for name in NAMES] == [b"\0", b"\1"]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in NAMES} == {0o600}


def test_a_file_that_is_there_is_never_overwritten(backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(BackupError, match="is there already"):
        archive.write(backup, tmp_path / "root", NAMES, "1.2.3", 0.0)
    assert backup.read_bytes() == before


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        archive.write(tmp_path / "backup.tar", tmp_path, ["missing"], "1.2.3", 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_named_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(bytes(3_000_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(BackupError, match=r"backup\.tar cannot be written: File too large; make room"):
            archive.write(tmp_path / "backup.tar", tmp_path, ["state.sqlite"], "1.2.3", 0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["state.sqlite"]


def flipped(content: bytes) -> bytes:
    return content[:1_000_000] + b"x" + content[1_000_001:]


@pytest.mark.parametrize(("spoil", "told"), [
    (flipped, "differ from its manifest"),
    (lambda content: content[:2_000_000], "not a whole one|was cut off"),
    (lambda content: content[:3_000_832], "was cut off"),
    (lambda content: b"", "not a whole one|was cut off"),
    (lambda content: b"no tar at all" * 1000, "is no backup"),
], ids=["flipped", "half a file", "between files", "empty", "nonsense"])
def test_what_is_not_what_was_written_is_refused(
    backup: Path, folder: Path, spoil: Callable[[bytes], bytes], told: str
) -> None:
    backup.write_bytes(spoil(backup.read_bytes()))
    with pytest.raises(BackupError, match=told):
        archive.extract(backup, folder)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(BackupError, match="not below the state folder"):
        archive.extract(path, folder)
    assert list(folder.iterdir()) == []


def test_a_link_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "evil.tar"
    link = tarfile.TarInfo("state.sqlite")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(path, "w") as tar:
        tar.addfile(link)
    with pytest.raises(BackupError, match="is no file"):
        archive.extract(path, folder)


def test_a_newer_format_says_which_version_reads_it(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "newer.tar"
    content = b'{"format": 2, "fallow": "9.9", "made": "", "files": {}}'
    info = tarfile.TarInfo(archive.MANIFEST)
    info.size = len(content)
    with tarfile.open(path, "w") as tar:
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(BackupError, match=r"written by Fallow 9\.9"):
        archive.extract(path, folder)
