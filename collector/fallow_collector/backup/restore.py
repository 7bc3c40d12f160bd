"""Put a backup into an empty state folder: prepared in a folder inside it, compared, and only then moved to its place.

A collector does not start while that folder is there.
"""

import os
import shutil
from pathlib import Path

from fallow_collector.backup import archive
from fallow_collector.backup.archive import Manifest
from fallow_collector.backup.errors import BackupError
from fallow_collector.state.file import RESTORING, lock
from fallow_proto.durable import sync_folder


def restore(path: Path, state: Path) -> Manifest:
    """Raises BackupError, StateError, OSError; then the folder is as empty as it was."""
    if not path.is_file():
        raise BackupError(f"{path} is no file; expected one that `fallow-collector backup` wrote")
    descriptor = lock(state)
    try:
        if there := sorted(each.name for each in state.iterdir() if each.name != "lock"):
            raise BackupError(
                f"{state} is not empty ({', '.join(there[:5])}); a restore never overwrites: move it away first"
            )
        return _restore(path, state)
    finally:
        os.close(descriptor)


def _restore(path: Path, state: Path) -> Manifest:
    prepared = state / RESTORING
    prepared.mkdir(mode=0o700)
    try:
        manifest = archive.extract(path, prepared)
        for folder in (prepared, *(each for each in prepared.rglob("*") if each.is_dir())):
            sync_folder(folder)
    except BaseException as error:
        shutil.rmtree(prepared)
        if isinstance(error, OSError) and error.filename is None:  # of a write, which does not say where
            raise BackupError(f"{state} cannot take the backup: {error.strerror}; make room there") from error
        raise
    _give_to_owner(prepared, state)
    for each in sorted(prepared.iterdir()):
        each.rename(state / each.name)
    sync_folder(state)
    prepared.rmdir()
    sync_folder(state)
    return manifest


def _give_to_owner(prepared: Path, state: Path) -> None:
    """Root restores for the collector's user, to whom the state folder belongs."""
    owner = state.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for each in (state / "lock", prepared, *prepared.rglob("*")):
            os.chown(each, owner.st_uid, owner.st_gid)
