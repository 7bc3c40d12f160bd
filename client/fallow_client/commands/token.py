"""`fallow token new`: a secret for a client, and what the collector has to know of it."""

import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
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
    parser.add_argument("--site", type=_site, action="append", default=[], metavar="SITE",
                        help="only for devices, nodes and leases of this site; repeat it for more (default: all sites)")
    parser.add_argument("--name", type=_name, required=True, help="whose it is; the collector's log names it")


def run(args: Namespace) -> int:
    minted = mint(args.name, args.role, args.site)
    if args.json:
        asked = {"name": args.name, "role": args.role, "sites": args.site}
        sys.stdout.write(json.dumps(asked | minted._asdict()) + "\n")
    else:
        sys.stdout.write(
            f"The secret, shown only now; for FALLOW_TOKEN, or a file of mode 0600 and --token-file:\n"
            f"{minted.secret}\n\n"
            f"The line for the collector's [auth] tokens_file, which is read again when it changes:\n"
            f"{minted.line}\n"
        )
    return ANSWERED


def mint(name: str, role: str, sites: Sequence[str] = ()) -> Minted:
    """sites: that it is for, empty: all."""
    secret = PREFIX + token_urlsafe(SECRET_BYTES)
    digest = sha256(secret.encode()).hexdigest()
    of = f"sites = {json.dumps(list(sites))}, " if sites else ""  # JSON's strings are TOML's
    return Minted(secret, f'{name} = {{ role = "{role}", {of}sha256 = "{digest}" }}')


def _site(text: str) -> str:
    if not text or not text.isprintable() or " " in text or len(text) > 253:
        raise ArgumentTypeError(f"{text!r}: expected a site's name: 1 to 253 printable characters without a space")
    return text


def _name(text: str) -> str:
    """A bare key of TOML."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ArgumentTypeError(f"{text!r}: expected 1 to 64 letters, digits, - or _")
    return text
