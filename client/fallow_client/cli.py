"""The `fallow` command.

Exit status: 0 answered, 1 failure, 2 wrong usage, 3 answered that there is no idle capacity.
"""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fallow_client.client import Client
from fallow_client.commands import baseline, capacity, devices, history, inventory, nodes, token, top
from fallow_client.commands.terminal import FAILED, MISUSED
from fallow_client.connection import DEFAULT_URL
from fallow_client.errors import FallowError, Refused
from fallow_proto.settings import SettingsError, secret


class Command(NamedTuple):
    name: str
    help: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Client], int]


COMMANDS = (
    Command("capacity", "what can be dispatched now", capacity.arguments, capacity.run),
    Command("devices", "devices with their states and newest readings", devices.list_arguments, devices.run_list),
    Command("device", "everything about one device", devices.uuid_argument, devices.run_one),
    Command("nodes", "hosts and their agents", nodes.arguments, nodes.run),
    Command("history", "what a device said over time", history.arguments, history.run),
    Command("top", "the busiest devices, live", top.arguments, top.run),
    Command("explain", "why a device is offered or not", devices.uuid_argument, devices.run_explain),
    Command("declare", "say which devices there are", inventory.declare_arguments, inventory.run_declare),
    Command("retire", "forget a device that is absent", devices.uuid_argument, inventory.run_retire),
    Command("baseline", "what a device draws and holds when idle", baseline.arguments, baseline.run),
)


def main() -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `fallow devices | head` ends quietly
    return fallow(sys.argv[1:], os.environ)


def fallow(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the words say, and say what became of it. Raises SystemExit(2) on wrong usage."""
    args = parser(environment).parse_args(words)
    try:
        return run(args, environment)
    except Refused as refused:
        print(f"fallow: {refused.problem.detail}", file=sys.stderr)
        return MISUSED if refused.status == 400 else FAILED
    except (FallowError, SettingsError) as error:
        print(f"fallow: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def run(args: Namespace, environment: Mapping[str, str]) -> int:
    """Do what the arguments say. Raises FallowError or SettingsError."""
    if args.command is None:
        return token.run(args)
    presented = secret(args.token_file, "--token-file") if args.token_file else environment.get("FALLOW_TOKEN", "")
    with Client(args.url, presented) as client:
        done: int = args.command.run(args, client)
        return done


def parser(environment: Mapping[str, str]) -> ArgumentParser:
    program = ArgumentParser(
        prog="fallow", description="Which accelerators of a fleet lie fallow, and why the others do not.",
        epilog="exit status: 0 answered, 1 failure, 2 wrong usage, 3 answered that there is no idle capacity",
    )
    words = program.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = words.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(added)
        added.add_argument("--json", action="store_true", help="the API's answer as it came")
        added.add_argument("--url", default=environment.get("FALLOW_URL") or DEFAULT_URL,
                           help="the collector (default: FALLOW_URL, now %(default)s)")
        added.add_argument("--token-file", metavar="FILE", help="file with the token (default: FALLOW_TOKEN holds it)")
        added.set_defaults(command=command)
    minting = words.add_parser("token", help="make a token for the API", description="make a token for the API")
    token.arguments(minting)
    minting.add_argument("--json", action="store_true", help="as JSON")
    minting.set_defaults(command=None)
    return program


if __name__ == "__main__":
    sys.exit(main())
