"""`fallow nodes`: the hosts and their agents."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.devices import page_arguments
from fallow_client.commands.terminal import ANSWERED, add_filters, answer, console, where_of
from fallow_client.views.nodes import page


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "site", "node")
    page_arguments(parser)


def run(args: Namespace, client: Client) -> int:
    width = console().width
    answer(args, client, calls.nodes(where_of(args), args.limit, args.cursor), lambda found: page(found, width))
    return ANSWERED
