"""`fallow devices`, `device` and `explain`: every device, one, and why it is what it is."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.everywhere import answered, show_across
from fallow_client.commands.terminal import (
    ANSWERED,
    Misused,
    add_filters,
    answer,
    answer_of_device,
    console,
    where_of,
)
from fallow_client.sites import Sites
from fallow_client.views import devices as views

FILTERS = ("site", "node", "class", "vendor", "model", "phase")


def list_arguments(parser: ArgumentParser) -> None:
    add_filters(parser, *FILTERS)
    page_arguments(parser)


def page_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, metavar="N", help="most items of one answer (default 1000)")
    parser.add_argument("--cursor", metavar="KEY", help="go on after the page that ended with this")


def uuid_argument(parser: ArgumentParser) -> None:
    parser.add_argument("uuid", metavar="UUID", help="a device's uuid, or as much of it as no other begins with")


def run_list(args: Namespace, client: Client) -> int:
    width = console().width
    answer(args, client, calls.devices(where_of(args), args.limit, args.cursor), lambda page: views.page(page, width))
    return ANSWERED


def run_list_everywhere(args: Namespace, sites: Sites) -> int:
    one_cursor_is_of_one(args)
    width = console().width
    found = sites.devices(where_of(args), args.limit)
    show_across(args, found, lambda page: views.page(page, width), "")
    return answered(found)


def one_cursor_is_of_one(args: Namespace) -> None:
    """Raises Misused."""
    if args.cursor is not None:
        raise Misused("a cursor is of one collector's pages; expected one --url with --cursor")


def run_one(args: Namespace, client: Client) -> int:
    answer_of_device(args, client, calls.device, views.detail)
    return ANSWERED


def run_explain(args: Namespace, client: Client) -> int:
    answer_of_device(args, client, calls.explain, views.explanation)
    return ANSWERED
