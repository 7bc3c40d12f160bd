"""`fallow watch`: every change, as it happens."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from contextlib import aclosing, suppress

import msgspec
from rich.text import Text

from fallow_client.client import Client
from fallow_client.commands.devices import FILTERS
from fallow_client.commands.terminal import ANSWERED, add_filters, console, where_of
from fallow_client.errors import Unreachable
from fallow_client.following import Cut, Event
from fallow_client.sites import AsyncSites, Sites
from fallow_client.views.text import plain
from fallow_client.views.watch import line
from fallow_proto.dispatch import Change


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, *FILTERS)


def run(args: Namespace, client: Client) -> int:
    """Until Ctrl-C. A collector that was never there ends it; one that goes away is waited for."""
    heard = False
    lines = _Lines(args.json, named=False)
    with suppress(KeyboardInterrupt):
        for event in client.watch(where_of(args)):
            if isinstance(event, Cut) and not heard:
                raise Unreachable(event.error)
            heard = True
            lines.show("", event)
    return ANSWERED


def run_everywhere(args: Namespace, sites: Sites) -> int:
    """Until Ctrl-C. A collector that is not there is told, and waited for."""
    lines = _Lines(args.json, named=True)

    async def follow() -> None:
        async with AsyncSites(sites.urls, sites.token) as watching, aclosing(watching.watch(where_of(args))) as events:
            async for site, event in events:
                lines.show(site, event)

    with suppress(KeyboardInterrupt):
        asyncio.run(follow())
    return ANSWERED


class _Lines:
    """Events on the terminal, a line each."""

    def __init__(self, json: bool, named: bool) -> None:
        self._json = json
        self._named = named
        self._listed: set[str] = set()
        self._out = console()

    def show(self, site: str, event: Event) -> None:
        if self._json:
            self._show_json(site, event)
            return
        told = line(event, site in self._listed)
        if told is not None:
            self._out.print(Text(f"{plain(site)}: ") + told if self._named else told, soft_wrap=True)
        if isinstance(event, Change) and event.kind == "bookmark":
            self._listed.add(site)
        elif isinstance(event, Cut) and event.lists_again:
            self._listed.discard(site)

    def _show_json(self, site: str, event: Event) -> None:
        """A Change a line, and on stderr why there are none just now; of several collectors, each with its site."""
        if isinstance(event, Cut):
            sys.stderr.write(f"fallow: {line(event, listed=True)}\n")
            sys.stderr.flush()
            return
        told = msgspec.json.encode({"site": site, "change": event} if self._named else event)
        sys.stdout.write(told.decode() + "\n")
        sys.stdout.flush()
