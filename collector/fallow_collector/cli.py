"""The command fallow-collector."""

import argparse
import asyncio
import faulthandler
import gc
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from fallow_collector import logs
from fallow_collector.backup import cli as backup
from fallow_collector.certs import cli as certs
from fallow_collector.certs.errors import CertsError
from fallow_collector.check import check, effective
from fallow_collector.config import DEFAULT_PATH, Settings, load_settings
from fallow_collector.state import StateError
from fallow_proto import WIRE
from fallow_proto.settings import SettingsError

FAILED = 1
USAGE = 2

log = logging.getLogger("fallow_collector")


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["certs"]:
        return certs.main(words[1:])
    if words[:1] in (["backup"], ["restore"]):
        return backup.main(words)
    options = _parser().parse_args(words)
    try:
        settings = load_settings(options.config)
    except SettingsError as error:
        print(f"fallow-collector: {error}", file=sys.stderr)
        return USAGE
    if options.check:
        return _check(settings)
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fallow-collector", description="Takes what agents report, stores it, and says what lies fallow.",
        epilog="fallow-collector certs is its authority for agents' certificates, fallow-collector backup and restore "
               "copy all that it remembers; each has a --help of its own",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: {DEFAULT_PATH}, if it is there")
    parser.add_argument("--check", action="store_true", help="explain the settings, try what can be tried, and end")
    parser.add_argument("--version", action="version", version=f"fallow-collector {version('fallow')} (wire {WIRE})")
    return parser


def _serve(settings: Settings) -> int:
    os.umask(0o077)  # SQLite, DuckDB and Arrow make files beside those that we give a mode to
    logs.set_up()
    faulthandler.enable()  # systemd's watchdog ends us by SIGABRT: the journal then says where we were stuck
    for library in ("uvicorn", "httpx"):  # their lives are told by the collector's own lines, without secret addresses
        logging.getLogger(library).setLevel(logging.WARNING)
    # Each message makes some hundred objects that die at once and in no cycle; looking through them, and through the
    # fleet, at Python's usual pace took a fourteenth of the collector's time.
    gc.set_threshold(200_000, 50, 1000)
    from fallow_collector.app import run  # a second that no other command needs
    from fallow_collector.ingest.server import CannotListen

    try:
        return asyncio.run(run(settings, version("fallow")))
    except (SettingsError, StateError, CertsError, CannotListen) as error:
        log.error("cannot start: %s", error)
        return FAILED



def _check(settings: Settings) -> int:
    for line in effective(settings):
        print(line)
    good = True
    for result in check(settings):
        good &= result.good
        print(f"{'ok  ' if result.good else 'FAIL'} {result.what}: {result.found}")
    return 0 if good else FAILED


if __name__ == "__main__":
    sys.exit(main())
