"""`fallow capacity`: what can be dispatched now."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.terminal import ANSWERED, NO_CAPACITY, add_filters, answer, where_of
from fallow_client.views.capacity import capacity


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "site", "node", "class", "vendor", "model")


def run(args: Namespace, client: Client) -> int:
    found = answer(args, client, calls.capacity(where_of(args)), capacity)
    return ANSWERED if any(group.idle for group in found.groups) else NO_CAPACITY
