"""`fallow-collector backup` and `fallow-collector restore`."""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from fallow_collector.backup import archive
from fallow_collector.backup.archive import Manifest
from fallow_collector.backup.errors import BackupError
from fallow_collector.backup.outside import outside
from fallow_collector.backup.restore import restore
from fallow_collector.backup.take import names, snapshot
from fallow_collector.config import DEFAULT_PATH, Settings, load_settings
from fallow_collector.state import StateError
from fallow_proto.settings import SettingsError

FAILED = 1
USAGE = 2


def main(words: Sequence[str]) -> int:
    options = _parser().parse_args(words)
    try:
        settings = load_settings(options.config)
        state = Path(settings.state.dir)
        if options.what == "backup":
            with snapshot(state, series=not options.without_series) as copy:
                manifest = archive.write(options.file, copy, names(copy), version("fallow"), time.time())
            _say(f"{options.file}: {_told(manifest)}")
            _say(_left_out(options.config or DEFAULT_PATH, settings))
        else:
            manifest = restore(options.file, state)
            _say(f"{state}: {_told(manifest)}, of {manifest.made}")
            _say("nodes that were revoked since then are let in again: revoke them anew with `certs revoke`; then "
                 "start the collector")
    except SettingsError as error:
        return _fail(str(error), USAGE)
    except (BackupError, StateError, OSError) as error:
        return _fail(str(error), FAILED)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fallow-collector")
    words = parser.add_subparsers(dest="what", required=True)
    taken = words.add_parser("backup", description=(
        "Copies all that the collector remembers into one file, whether it runs or not. The file holds secrets, such "
        "as the keys of the collector's own authority: keep it like them."
    ))
    taken.add_argument("file", type=Path, metavar="FILE", help="a new tar file")
    taken.add_argument("--without-series", action="store_true", help="leave the embedded store's time series out")
    put_back = words.add_parser("restore", description=(
        "Puts a backup into an empty [state] dir. What was acknowledged after the backup is not in it, nor who was "
        "revoked after it; leases as they were then run on from the start; fencing tokens rise all the same, for they "
        "are never below the clock."
    ))
    put_back.add_argument("file", type=Path, metavar="FILE", help="what fallow-collector backup wrote")
    for each in (taken, put_back):
        each.add_argument("--config", type=Path, metavar="FILE", help=f"default: {DEFAULT_PATH}, if it is there")
    return parser


def _told(manifest: Manifest) -> str:
    size_mib = sum(entry.bytes for entry in manifest.files.values()) / 2**20
    return f"{len(manifest.files)} files, {size_mib:.1f} MiB"


def _left_out(config: Path, settings: Settings) -> str:
    others = ", ".join(map(str, (config, *outside(settings))))
    return f"the configuration is not in it; keep with it {others}"


def _say(text: str) -> None:
    sys.stdout.write(f"fallow-collector: {text}\n")


def _fail(text: str, status: int) -> int:
    sys.stderr.write(f"fallow-collector: {text}\n")
    return status
