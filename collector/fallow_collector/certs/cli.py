"""`fallow-collector certs`: the authority by hand, also beside a running collector, which sees each change."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fallow_collector.certs.authority import Authority
from fallow_collector.certs.errors import CertsError
from fallow_collector.certs.names import node_name, node_names
from fallow_collector.config import DEFAULT_PATH, load_settings
from fallow_collector.state import StateError
from fallow_proto.settings import SettingsError

FAILED = 1
USAGE = 2
LONGEST_TTL_S = 7 * 86_400

Run = Callable[[Authority, argparse.Namespace, float], int]


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings(options.config)
        directory = options.dir or Path(settings.state.dir)
        with _as_owner_of(directory):
            authority = Authority(directory, settings.tls.agent_life_h * 3600)
            try:
                return int(options.run(authority, options, time.time()))
            finally:
                authority.close()
    except SettingsError as error:
        print(f"fallow-collector: {error}", file=sys.stderr)
        return USAGE
    except (CertsError, StateError, OSError) as error:
        print(f"fallow-collector certs: {error}", file=sys.stderr)
        return FAILED


def _init(authority: Authority, options: argparse.Namespace, now: float) -> int:
    root = authority.init(now)
    print(_MADE.format(until=_day(root.ends)))
    return 0


def _rotate(authority: Authority, options: argparse.Namespace, now: float) -> int:
    root = authority.rotate(now)
    print(_ROTATED.format(until=_day(root.ends), ca=authority.bundle_path))
    return 0


def _issue(authority: Authority, options: argparse.Namespace, now: float) -> int:
    if options.node:
        path = authority.issue_node(options.node, now)
        print(_FOR_NODE.format(path=path, ca=authority.bundle_path, node=options.node))
    else:
        path = authority.issue_collector(options.collector, now)
        print(_FOR_COLLECTOR.format(path=path, ca=authority.bundle_path))
    return 0


_MADE = """\
An authority is made, good until {until}. Next, with the names under which agents and people reach this collector:
    fallow-collector certs issue --collector NAME…"""

_ROTATED = """\
A new authority is made, good until {until}. Agents get to know it as they renew, the collector's own certificate
follows when all have, and the old one is trusted until its last certificate is over. Clients that check the collector
by {ca} need that file anew."""

_FOR_NODE = """\
{path} holds a certificate and its key: move it to {node}, and copy {ca}, into a folder that the agent's user
may write to, for it renews them. Its agent.toml needs:
[tls]
ca = "/var/lib/fallow/agent/tls/ca.pem"
cert = "/var/lib/fallow/agent/tls/agent.pem"
key = "/var/lib/fallow/agent/tls/agent.pem\""""

_FOR_COLLECTOR = """\
{path} holds a certificate and its key, which the collector renews. Its collector.toml needs, and a restart once:
[tls]
cert = "{path}"
key = "{path}"
client_ca = "{ca}\""""


def _list(authority: Authority, options: argparse.Namespace, now: float) -> int:
    print(f"{'serial':<40}  {'of':<9}  {'expires':<19}  {'revoked':<19}  name")
    for leaf, revoked in authority.listed():
        print(f"{leaf.serial:<40}  {leaf.kind:<9}  {_moment(leaf.ends):<19}  "
              f"{_moment(revoked) if revoked is not None else '-':<19}  {leaf.name}")
    return 0


def _revoke(authority: Authority, options: argparse.Namespace, now: float) -> int:
    for serial in authority.revoke(options.what, now):
        print(f"revoked {serial}")
    print(f"A running collector ends the streams of {options.what} within seconds and takes none any more.")
    return 0


def _join_token(authority: Authority, options: argparse.Namespace, now: float) -> int:
    nodes = [options.node] if options.node else options.nodes
    token = authority.make_join_token(nodes, options.ttl, now)
    whom = f"node {nodes[0]}" if len(nodes) == 1 else f"{len(nodes)} nodes, each once"
    until = _moment(round(now) + options.ttl)
    print(_TOKEN.format(token=token, whom=whom, until=until, pin=authority.pin(now)))
    return 0


_TOKEN = """\
The token, shown only now; for a file of mode 0600 on the node, and fallow-agent enroll --token-file:
{token}

It is for {whom}, until {until} UTC. The authority, for --ca-sha256:
{pin}"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fallow-collector certs",
        description="An authority of the collector's own, for agents that enrol and renew by themselves. Not needed "
                    "where the site's own issues certificates: then [tls] names its files, and only revoke is of use.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default: {DEFAULT_PATH}, if it is there")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where it is kept; default: [state] dir")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Run, what: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=what, description=what)
        made.set_defaults(run=run)
        return made

    verb("init", _init, "make the authority")
    verb("rotate", _rotate, "make a new authority beside the old one, which ends when its certificates have")
    issue = verb("issue", _issue, "make a key and a certificate").add_mutually_exclusive_group(required=True)
    issue.add_argument("--node", type=_checked(node_name), help="for a node's agent")
    issue.add_argument("--collector", nargs="+", metavar="NAME", help="for the collector: its host names and addresses")
    verb("list", _list, "show all certificates")
    revoke = verb("revoke", _revoke, "refuse a certificate, or all that a node has")
    revoke.add_argument("what", metavar="SERIAL|NODE")
    join = verb("join-token", _join_token, "make a token with which a node gets its first certificate, once")
    whose = join.add_mutually_exclusive_group(required=True)
    whose.add_argument("--node", type=_checked(node_name))
    whose.add_argument("--nodes", type=_checked(node_names), metavar="LIST",
                       help="such as 'gpu[01-64]': whoever has the token may be any of them that has not used it")
    join.add_argument("--ttl", type=_checked(_ttl), default=3600, metavar="TIME", help="such as 15m; default 1h")
    return parser


def _checked(parse: Callable[[str], object]) -> Callable[[str], object]:
    def checked(text: str) -> object:
        try:
            return parse(text)
        except (CertsError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


@contextmanager
def _as_owner_of(directory: Path) -> Iterator[None]:
    """Root makes no files that the collector's user could not read."""
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists()).stat()
    if os.geteuid() != 0 or there.st_uid == 0:
        yield
        return
    os.setegid(there.st_gid)
    os.seteuid(there.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _ttl(text: str) -> int:
    """Seconds. Raises ValueError."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    ttl_s = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]] if found else 0
    if not 0 < ttl_s <= LONGEST_TTL_S:
        raise ValueError(f"{text!r}: expected such as 15m, 1h or 1d, and at most 7d")
    return ttl_s


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
