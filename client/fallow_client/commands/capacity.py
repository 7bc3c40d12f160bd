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


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "site", "node", "class", "vendor", "model")


def run(args: Namespace, client: Client) -> int:
    found = answer(args, client, calls.capacity(where_of(args)), capacity)
    return ANSWERED if any(group.idle for group in found.groups) else NO_CAPACITY


def run_everywhere(args: Namespace, sites: Sites) -> int:
    found = sites.capacity(where_of(args))
    groups = [group for answered in found.answers.values() for group in answered.groups]
    parts = [f"{free} of {seen} {plain(name)}" for name, (free, seen) in idle(groups).items()]
    show_across(args, found, capacity, f"idle in all: {', '.join(parts) or 'none, no device is known'}")
    return status_of(found, any(group.idle for group in groups))
