"""`fallow silence`: for a time, nobody is told of some alerts."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.everywhere import answered, show_across
from fallow_client.commands.identity import add_holder
from fallow_client.commands.quantities import seconds
from fallow_client.commands.terminal import ANSWERED, Misused, answer
from fallow_client.sites import Sites
from fallow_client.views import silences as views
from fallow_proto.alerts import SilenceWanted


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "matcher", nargs="*", metavar="MATCHER",
        help="such as node=gpu-01 or 'alertname=~\"Device.*\"'; all must match (default: list the silences)",
    )
    parser.add_argument("--for", dest="for_s", type=seconds, metavar="TIME", help="how long, such as 2h")
    parser.add_argument("--comment", default="", metavar="TEXT", help="why, for whoever asks")
    add_holder(parser, "owner")
    parser.add_argument("--end", metavar="ID", help="end this one now")


def run(args: Namespace, client: Client) -> int:
    _check(args)
    if args.end is not None:
        answer(args, client, calls.end_silence(args.end), lambda _: views.ended(args.end))
    elif args.matcher:
        wanted = SilenceWanted(matchers=args.matcher, comment=args.comment, for_s=args.for_s, created_by=args.owner)
        answer(args, client, calls.silence(wanted), views.made)
    else:
        answer(args, client, calls.silences(), views.page)
    return ANSWERED


def run_everywhere(args: Namespace, sites: Sites) -> int:
    _check(args)
    if args.matcher or args.end is not None:
        raise Misused("a silence is of one collector, and several are named; expected one --url")
    found = sites.ask(lambda client: client.silences())
    show_across(args, found, views.page, "")
    return answered(found)


def _check(args: Namespace) -> None:
    if args.end is not None and (args.matcher or args.for_s is not None):
        raise Misused("--end ends one silence, and matchers begin another; expected one of the two")
    if args.matcher and args.for_s is None:
        raise Misused("for how long? expected --for, such as --for 2h")
    if args.for_s is not None and not args.matcher:
        raise Misused("--for is of a silence, and no matcher says of what; expected such as node=gpu-01")
