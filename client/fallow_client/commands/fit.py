"""`fallow fit`: whether devices that are idle now serve a request, and why others do not."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.across import best
from fallow_client.client import Client
from fallow_client.commands.everywhere import show_across, status_of
from fallow_client.commands.terminal import ANSWERED, NO_CAPACITY, answer
from fallow_client.commands.wanted import add_request, request_of
from fallow_client.sites import Sites
from fallow_client.views.fit import fit


def arguments(parser: ArgumentParser) -> None:
    add_request(parser)


def run(args: Namespace, client: Client) -> int:
    found = answer(args, client, calls.fit(request_of(args)), fit)
    return ANSWERED if found.fits else NO_CAPACITY


def run_everywhere(args: Namespace, sites: Sites) -> int:
    found = sites.fit(request_of(args))
    ranked = best(found)
    summary = f"best: {', then '.join(ranked)}" if ranked else "it fits nowhere that answered"
    show_across(args, found, fit, summary)
    return status_of(found, bool(ranked))
