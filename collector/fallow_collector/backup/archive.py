"""The file of a backup: a plain tar, so that it can be looked into with any tool, whose last member is its manifest.

    state.sqlite  leases.sqlite  store/catalogue.sqlite  store/hot/…  store/parquet/…  …
    manifest.json     {"format", "fallow", "made", "files": {name: {"bytes", "sha256"}}}

A file without a manifest is not whole.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from fallow_collector.backup.errors import BackupError

FORMAT = 1
MANIFEST = "manifest.json"
_PIECE = 1 << 20


class Entry(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    format: int
    fallow: str  # version of the collector that wrote it
    made: str
    files: dict[str, Entry]


class _Digesting(io.RawIOBase):
    """What is read of a file, and its digest."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.digest.update(piece)
        return piece


def write(path: Path, root: Path, names: Iterable[str], version: str, wall: float) -> Manifest:
    """Put files below root into a new file at path, whole and on disk or not at all. Raises BackupError, OSError."""
    if path.exists():
        raise BackupError(f"{path} is there already; name another file, or move it away")
    aside = path.with_name(f"{path.name}.partial")
    files: dict[str, Entry] = {}
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as sink:  # noqa: PTH123  # a descriptor
            with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for name in names:
                    files[name] = _add(tar, root / name, name)
                made = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                manifest = Manifest(FORMAT, version, made, files)
                content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
                info = tarfile.TarInfo(MANIFEST)
                info.size, info.mode = len(content), 0o600
                tar.addfile(info, io.BytesIO(content))
            sink.flush()
            os.fsync(sink.fileno())
        aside.rename(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of a write, which does not say where
            raise BackupError(
                f"{path} cannot be written: {error.strerror}; make room there, or name a file on another disk"
            ) from error
        raise
    return manifest


def _add(tar: tarfile.TarFile, path: Path, name: str) -> Entry:
    with path.open("rb") as source:
        info = tarfile.TarInfo(name)
        info.size, info.mode = os.fstat(source.fileno()).st_size, 0o600
        digesting = _Digesting(source)
        tar.addfile(info, digesting)
    return Entry(info.size, digesting.digest.hexdigest())


def extract(path: Path, folder: Path) -> Manifest:
    """Everything into an empty folder, compared with the manifest. Raises BackupError, OSError."""
    found: dict[str, Entry] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    raise BackupError(f"{path} holds {member.name!r}, which is no file; it is no backup of Fallow's")
                if member.name == MANIFEST:
                    manifest = _manifest(path, content.read())
                else:
                    found[member.name] = _extract(content, _inside(folder, member.name, path))
    except tarfile.TarError as error:
        raise BackupError(f"{path} is no backup, or not a whole one: {error}") from error
    if manifest is None:
        raise BackupError(f"{path} has no {MANIFEST}, which comes last: it was cut off; take another backup")
    wrong = sorted(name for name in found.keys() | manifest.files.keys() if found.get(name) != manifest.files.get(name))
    if wrong:
        raise BackupError(f"{path} is damaged: {', '.join(wrong[:5])} differ from its manifest; take another backup")
    return manifest


def _extract(content: IO[bytes], target: Path) -> Entry:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
        while piece := content.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return Entry(size, digest.hexdigest())


def _inside(folder: Path, name: str, path: Path) -> Path:
    target = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BackupError(f"{path} names {name!r}, which is not below the state folder; it is no backup of Fallow's")
    return target


def _manifest(path: Path, content: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise BackupError(f"{path}: {MANIFEST} is not what was written: {error}") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{path} is of format {manifest.format}, written by Fallow {manifest.fallow}, expected {FORMAT}; restore "
            f"it with that version"
        )
    return manifest
