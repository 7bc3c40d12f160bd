"""`fallow capacity`: what can be dispatched now."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.across import idle
from fallow_client.client import Client
from fallow_client.commands.everywhere import show_across, status_of
from fallow_client.commands.terminal import ANSWERED, NO_CAPACITY, add_filters, answer, where_of
from fallow_client.sites import Sites
from fallow_client.views.capacity import capacity
from fallow_client.views.text import plain
from fallow_client.views.totals import totals
from fallow_proto.api import TOTAL_KEYS
from fallow_proto.catalogue import PRECISIONS


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "site", "node", "class", "vendor", "model")
    parser.add_argument(
        "--by", action="append", default=[], metavar="WORD",
        help=f"sums of devices, memory and FLOPS by class and {', '.join(TOTAL_KEYS)}; a comma list or repeated",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of the FLOPS of such sums, which are by class alone without --by "
                                                "(default fp16: that of chips that have it, else bf16)",
    )


def run(args: Namespace, client: Client) -> int:
    if _asks_for_totals(args):
        summed = answer(args, client, calls.totals(where_of(args), args.by, args.precision or "fp16"), totals)
        return ANSWERED if any(total.idle for total in summed.totals) else NO_CAPACITY
    found = answer(args, client, calls.capacity(where_of(args)), capacity)
    return ANSWERED if any(group.idle for group in found.groups) else NO_CAPACITY


def run_everywhere(args: Namespace, sites: Sites) -> int:
    if _asks_for_totals(args):
        where, by, precision = where_of(args), args.by, args.precision or "fp16"
        summed = sites.ask(lambda client: client.totals(where, by, precision))
        show_across(args, summed, totals, "")
        return status_of(summed, any(total.idle for one in summed.answers.values() for total in one.totals))
    found = sites.capacity(where_of(args))
    groups = [group for answered in found.answers.values() for group in answered.groups]
    parts = [f"{free} of {seen} {plain(name)}" for name, (free, seen) in idle(groups).items()]
    show_across(args, found, capacity, f"idle in all: {', '.join(parts) or 'none, no device is known'}")
    return status_of(found, any(group.idle for group in groups))


def _asks_for_totals(args: Namespace) -> bool:
    return bool(args.by or args.precision)
