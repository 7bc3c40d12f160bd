"""`fallow token new`: a secret for a client, and what the collector has to know of it."""

import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple

from fallow_client.commands.terminal import ANSWERED

SECRET_BYTES = 32
PREFIX = "fallow_"  # lets scanners for leaked secrets recognise one


class Minted(NamedTuple):
    secret: str  # nobody can show it again
    line: str  # for the collector's tokens file


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("new",), help="make one; nothing is sent anywhere")
    parser.add_argument("--role", choices=("read", "lease", "admin"), required=True,
                        help="read may look, lease may also take idle devices and give them back, admin may change all")
    parser.add_argument("--name", type=_name, required=True, help="whose it is; the collector's log names it")


def run(args: Namespace) -> int:
    minted = mint(args.name, args.role)
    if args.json:
        sys.stdout.write(json.dumps({"name": args.name, "role": args.role} | minted._asdict()) + "\n")
    else:
        sys.stdout.write(
            f"The secret, shown only now; for FALLOW_TOKEN, or a file of mode 0600 and --token-file:\n"
            f"{minted.secret}\n\n"
            f"The line for the collector's [auth] tokens_file, which is read again when it changes:\n"
            f"{minted.line}\n"
        )
    return ANSWERED


def mint(name: str, role: str) -> Minted:
    secret = PREFIX + token_urlsafe(SECRET_BYTES)
    digest = sha256(secret.encode()).hexdigest()
    return Minted(secret, f'{name} = {{ role = "{role}", sha256 = "{digest}" }}')


def _name(text: str) -> str:
    """A bare key of TOML."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ArgumentTypeError(f"{text!r}: expected 1 to 64 letters, digits, - or _")
    return text
