"""`fallow nodes`: the hosts and their agents."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.devices import one_cursor_is_of_one, page_arguments
from fallow_client.commands.everywhere import answered, show_across
from fallow_client.commands.terminal import ANSWERED, add_filters, answer, console, where_of
from fallow_client.sites import Sites
from fallow_client.views.nodes import page


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "site", "node")
    page_arguments(parser)


def run(args: Namespace, client: Client) -> int:
    width = console().width
    answer(args, client, calls.nodes(where_of(args), args.limit, args.cursor), lambda found: page(found, width))
    return ANSWERED


def run_everywhere(args: Namespace, sites: Sites) -> int:
    one_cursor_is_of_one(args)
    width = console().width
    found = sites.nodes(where_of(args), args.limit)
    show_across(args, found, lambda answer: page(answer, width), "")
    return answered(found)
