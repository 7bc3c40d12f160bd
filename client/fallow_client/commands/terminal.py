"""Where a command's words come from and go to."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from typing import TypeVar

from rich.console import Console, RenderableType

from fallow_client import calls
from fallow_client.calls import Call, Where
from fallow_client.client import Client
from fallow_client.errors import FallowError, Refused

Answer = TypeVar("Answer")

ANSWERED = 0
FAILED = 1
MISUSED = 2
NO_CAPACITY = 3


class NotUnique(FallowError):
    """The beginning of a uuid fits no device, or several."""


class Misused(FallowError):
    """The words of the command do not go together."""


def console() -> Console:
    """Strings of devices are data: no markup, no emoji, no guessed colours."""
    return Console(markup=False, emoji=False, highlight=False)


def show(rendered: Iterable[RenderableType]) -> None:
    out = console()
    for part in rendered:
        out.print(part)


def show_json(body: bytes) -> None:
    """The answer as it came, on a line."""
    if body:
        sys.stdout.write(body.decode() + "\n")


def answer(
    args: Namespace, client: Client, call: Call[Answer], view: Callable[[Answer], Iterable[RenderableType]]
) -> Answer:
    """Ask, and show the answer as the user wants it."""
    return _shown(args, call, client.fetch(call), view)


def answer_of_device(
    args: Namespace, client: Client, call_of: Callable[[str], Call[Answer]],
    view: Callable[[Answer], Iterable[RenderableType]],
) -> Answer:
    """Like `answer`, about args.uuid, which becomes the whole uuid if it was the beginning of just one."""
    call, body = fetch_of_device(args, client, call_of)
    return _shown(args, call, body, view)


def fetch_of_device(
    args: Namespace, client: Client, call_of: Callable[[str], Call[Answer]]
) -> tuple[Call[Answer], bytes]:
    """The call about args.uuid and its answer as it came; whole uuids, the common case, cost one call."""
    call = call_of(args.uuid)
    try:
        return call, client.fetch(call)
    except Refused as refused:
        if refused.status != 404:
            raise
    args.uuid = complete(client, args.uuid)
    call = call_of(args.uuid)
    return call, client.fetch(call)


def _shown(
    args: Namespace, call: Call[Answer], body: bytes, view: Callable[[Answer], Iterable[RenderableType]]
) -> Answer:
    found = calls.decode(call, body)
    if args.json:
        show_json(body)
    else:
        show(view(found))
    return found


def complete(client: Client, beginning: str, nor: str = "") -> str:
    """The one uuid that begins so. Raises NotUnique. nor: what else has no such name, for the message.

    Pages are sorted by uuid and start after their cursor, so two devices are enough to know.
    """
    found = [device.uuid for device in client.devices(limit=2, cursor=beginning).items]
    fitting = [uuid for uuid in found if uuid.startswith(beginning)]
    match fitting:
        case [uuid]:
            return uuid
        case []:
            none = f"no device's uuid is or begins with {beginning}{nor}"
            raise NotUnique(f"{none}; fallow devices lists uuids and nodes")
        case _:
            raise NotUnique(f"several uuids begin with {beginning}: {', '.join(fitting)}, …; give more of it")


def add_filters(parser: ArgumentParser, *names: str) -> None:
    """Flags for the named filters; each may be repeated or hold a comma list."""
    for name in names:
        parser.add_argument(
            f"--{name}", dest="device_class" if name == "class" else name, action="append", default=[],
            metavar=name.upper(), help=f"only this {name}; a comma list or repeated for several",
        )


def where_of(args: Namespace) -> Where:
    given = {name: tuple(getattr(args, name, ())) for name in Where._fields}
    return Where(**given)
