"""`fallow replay`: judges a recording again, with the collector's own code."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec

from fallow_client.errors import FallowError

NEEDED = ("fallow_collector", "numpy")
"""What the light install of the client lacks."""


class NotInstalled(FallowError):
    """The collector's code is not here."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what GET /api/v1/recording?for_s=60 answered")


def run(args: Namespace, asked: object) -> int:
    """Exit status 0: every revision came out as it was recorded; 1: not. Nothing is asked of a collector."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise NotInstalled(
            f"replay needs the collector's code, and {', '.join(missing)} is not installed here; "
            f"install fallow[collector], or replay where a collector is"
        )
    words = [sys.executable, "-m", "fallow_collector.replay", args.file, *(["--json"] if args.json else [])]
    return subprocess.run(words, check=False).returncode
