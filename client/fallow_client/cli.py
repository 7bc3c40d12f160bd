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
from fallow_client.commands import (
    alerts,
    baseline,
    capacity,
    cordons,
    devices,
    fit,
    history,
    inventory,
    leases,
    ledgers,
    nodes,
    quiesce,
    replay,
    silences,
    slurm,
    token,
    top,
    watch,
)
from fallow_client.commands.everywhere import names_of
from fallow_client.commands.terminal import FAILED, MISUSED, NO_CAPACITY, Misused
from fallow_client.connection import DEFAULT_URL, is_overheard
from fallow_client.errors import FallowError, NoCapacity, Refused
from fallow_client.sites import Sites
from fallow_client.views.text import plain
from fallow_proto.settings import SettingsError, secret


class Command(NamedTuple):
    name: str
    help: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Client], int]
    run_everywhere: Callable[[Namespace, Sites], int] | None = None  # over several collectors at once


COMMANDS = (
    Command("capacity", "what can be dispatched now", capacity.arguments, capacity.run, capacity.run_everywhere),
    Command("devices", "devices with their states and newest readings", devices.list_arguments, devices.run_list,
            devices.run_list_everywhere),
    Command("device", "everything about one device", devices.uuid_argument, devices.run_one),
    Command("nodes", "hosts and their agents", nodes.arguments, nodes.run, nodes.run_everywhere),
    Command("history", "what a device said over time", history.arguments, history.run),
    Command("top", "the busiest devices, live", top.arguments, top.run),
    Command("explain", "why a device is offered or not", devices.uuid_argument, devices.run_explain),
    Command("fit", "whether idle devices serve a request, and why others do not", fit.arguments, fit.run,
            fit.run_everywhere),
    Command("reserve", "lease idle devices", leases.reserve_arguments, leases.run_reserve, leases.run_reserve_anywhere),
    Command("commit", "make a lease of what reserve --hold took", leases.prolong_arguments, leases.run_commit),
    Command("renew", "prolong a lease", leases.prolong_arguments, leases.run_renew),
    Command("release", "give devices back", leases.release_arguments, leases.run_release),
    Command("leases", "who holds what, until when", leases.list_arguments, leases.run_list),
    Command("cordon", "give devices or nodes no new work", cordons.arguments, cordons.run_cordon),
    Command("drain", "give devices or nodes no new work, to empty them", cordons.arguments, cordons.run_drain),
    Command("maintenance", "a window in which devices or nodes are out of service", cordons.maintenance_arguments,
            cordons.run_maintenance),
    Command("uncordon", "lift a cordon, drain or window", cordons.uncordon_arguments, cordons.run_uncordon),
    Command("cordons", "what is cordoned, by whom, why and until when", cordons.list_arguments, cordons.run_list),
    Command("quiesce", "have a node's agent let go of all its devices for a while", quiesce.arguments, quiesce.run),
    Command("watch", "every change, as it happens", watch.arguments, watch.run, watch.run_everywhere),
    Command("alerts", "what is wrong, by which rule, and who is told", alerts.arguments, alerts.run,
            alerts.run_everywhere),
    Command("silence", "tell nobody of some alerts for a time", silences.arguments, silences.run,
            silences.run_everywhere),
    Command("ledgers", "the schedulers that hand out devices", ledgers.arguments, ledgers.run),
    Command("slurm", "Slurm's allocations as a ledger, and its nodes drained", slurm.arguments, slurm.run),
    Command("declare", "say which devices there are", inventory.declare_arguments, inventory.run_declare),
    Command("retire", "forget a device that is absent", devices.uuid_argument, inventory.run_retire),
    Command("baseline", "what a device draws and holds when idle", baseline.arguments, baseline.run),
    Command("replay", "judge a recording again, bit for bit", replay.arguments, replay.run, replay.run),
)


def main() -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `fallow devices | head` ends quietly
    return fallow(sys.argv[1:], os.environ)


def fallow(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the words say, and say what became of it. Raises SystemExit(2) on wrong usage."""
    args = parser().parse_args(words)
    try:
        return run(args, environment)
    except NoCapacity as refused:
        complain(refused.problem.detail)
        return NO_CAPACITY
    except Misused as error:
        complain(str(error))
        return MISUSED
    except Refused as refused:
        advice = "; fallow takes it from --token-file or FALLOW_TOKEN" if refused.status == 401 else ""
        complain(f"{refused.problem.detail}{advice}")
        return MISUSED if refused.status == 400 else FAILED
    except (FallowError, SettingsError) as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def complain(why: str) -> None:
    """It may repeat words from elsewhere."""
    for line in why.split("\n"):
        print(f"fallow: {plain(line)}", file=sys.stderr)


def run(args: Namespace, environment: Mapping[str, str]) -> int:
    """Do what the arguments say. Raises FallowError or SettingsError."""
    if args.command is None:
        return token.run(args)
    presented = secret(args.token_file, "--token-file") if args.token_file else environment.get("FALLOW_TOKEN", "")
    command: Command = args.command
    urls = args.url or environment.get("FALLOW_URL", "").replace(",", " ").split() or [DEFAULT_URL]
    for url in filter(is_overheard, urls if presented else ()):
        complain(f"the token goes to {url} in plain text: whoever is on the way can use it; expected https://")
    if len(urls) == 1:
        with Client(urls[0], presented) as client:
            return command.run(args, client)
    if command.run_everywhere is None:
        raise Misused(f"fallow {command.name} asks one collector, and {len(urls)} are named; expected one --url")
    with Sites(names_of(urls), presented) as sites:
        return command.run_everywhere(args, sites)


def parser() -> ArgumentParser:
    program = ArgumentParser(
        prog="fallow", description="Which accelerators of a fleet lie fallow, and why the others do not.",
        epilog="exit status: 0 answered, 1 failure, 2 wrong usage, 3 answered that there is no idle capacity",
    )
    words = program.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = words.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(added)
        added.add_argument("--json", action="store_true", help="the API's answer as it came")
        several = "; repeated for several" if command.run_everywhere else ""
        added.add_argument("--url", action="append",
                           help=f"the collector{several} (default: FALLOW_URL, with commas between several, "
                                f"or {DEFAULT_URL})")
        added.add_argument("--token-file", metavar="FILE", help="file with the token (default: FALLOW_TOKEN holds it)")
        added.set_defaults(command=command)
    minting = words.add_parser("token", help="make a token for the API", description="make a token for the API")
    token.arguments(minting)
    minting.add_argument("--json", action="store_true", help="as JSON")
    minting.set_defaults(command=None)
    return program


if __name__ == "__main__":
    sys.exit(main())
