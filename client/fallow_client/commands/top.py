"""`fallow top`: the busiest devices, live."""

import os
import select
import sys
import termios
import time
import tty
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fallow_client import calls
from fallow_client.calls import Call
from fallow_client.client import Client
from fallow_client.commands.devices import FILTERS
from fallow_client.commands.terminal import ANSWERED, add_filters, answer, console, where_of
from fallow_client.errors import FallowError
from fallow_client.views import devices as views
from fallow_proto import api

REFRESH_S = 1.0
MOST = 10_000  # devices that are looked at; the API's largest page
SORT_KEYS = {"utilization": "utilization_ratio", "power": "power_watts"}
CHROME_LINES = 6  # title, headers, blank line, footing and the cursor's


def arguments(parser: ArgumentParser) -> None:
    add_filters(parser, *FILTERS)
    parser.add_argument("--sort", choices=tuple(SORT_KEYS), default="utilization", help="(default: %(default)s)")


def run(args: Namespace, client: Client) -> int:
    call = calls.devices(where_of(args), MOST)
    out = console()
    if args.json or not out.is_terminal:
        answer(args, client, call, lambda page: [view(page, args.sort, out.width, len(page.items))])
        return ANSWERED
    try:
        with _keys(), Live(console=out, screen=True, auto_refresh=False) as live:
            _watch(args, client, call, live)
    except KeyboardInterrupt:
        pass  # as good a way to end as q
    return ANSWERED


def _watch(args: Namespace, client: Client, call: Call[api.Page[api.Device]], live: Live) -> None:
    shown: RenderableType = Text("")
    ending = False
    while not ending:
        started = time.monotonic()
        width, height = live.console.size
        try:
            shown = view(client.ask(call), args.sort, width, height - CHROME_LINES)
            live.update(shown, refresh=True)
        except FallowError as error:  # a collector that restarts comes back; until then the last view says its age
            live.update(Group(Text(f"fallow: {error}", style="red"), shown), refresh=True)
        ending = _quits_within(max(0.0, started + REFRESH_S - time.monotonic()))


def view(page: api.Page[api.Device], sort: str, width: int, most: int) -> RenderableType:
    """The `most` first devices by the sorting key, the unknown last."""
    shown = ordered(page.items, sort)[:max(most, 1)]
    others = "" if page.next is None else f" of the first {len(page.items)}; filter to see others"
    title = Text(f"{len(shown)} of {len(page.items)} devices by {sort}{others}", style="bold")
    return Group(title, views.rows(shown, width), Text(""), views.footing(page))


def ordered(devices: list[api.Device], sort: str) -> list[api.Device]:
    key = SORT_KEYS[sort]

    def rank(device: api.Device) -> tuple[bool, float, str]:
        value: float | None = getattr(device, key)
        return value is None, -(value or 0.0), device.uuid

    return sorted(devices, key=rank)


@contextmanager
def _keys() -> Iterator[None]:
    """Single keys without Enter, while stdin is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _quits_within(seconds: float) -> bool:
    """Wait; true as soon as q is pressed."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        if ready and b"q" in os.read(sys.stdin.fileno(), 64).lower():
            return True
    return False
