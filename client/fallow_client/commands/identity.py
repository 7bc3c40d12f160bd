"""Who a command acts for."""

import getpass
import os
import socket
from argparse import ArgumentParser


def add_holder(parser: ArgumentParser, name: str = "holder") -> None:
    parser.add_argument(f"--{name}", default=me(), metavar="NAME", help="who you are (default: %(default)s)")


def me() -> str:
    """user@host; the number of a user that has no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # which of them depends on the version of Python
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
