"""Devices and nodes as a command line names them."""

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import NamedTuple

from fallow_client.calls import Where
from fallow_client.client import Client
from fallow_client.commands.terminal import complete
from fallow_client.errors import Refused

NODE = "node:"


class Targets(NamedTuple):
    devices: list[str]  # whole uuids
    nodes: list[str]


def add_targets(parser: ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "target", nargs="+", metavar="TARGET",
        help=f"{more}a device's uuid, as much of it as no other begins with, or a node's name (also node:NAME)",
    )


def resolve(client: Client, words: Iterable[str], nor: str = "") -> Targets:
    """Raises NotUnique for a word that names nothing or several things. nor: what else it does not name."""
    found = Targets([], [])
    for word in words:
        if word.startswith(NODE):
            found.nodes.append(word.removeprefix(NODE))
        elif _is_device(client, word):
            found.devices.append(word)
        elif client.nodes(Where(node=(word,)), limit=1).items:
            found.nodes.append(word)
        else:
            found.devices.append(complete(client, word, f", no node is called {word}{nor and f', {nor}'}"))
    return found


def _is_device(client: Client, word: str) -> bool:
    try:
        client.device(word)
    except Refused as refused:
        if refused.status != 404:
            raise
        return False
    return True
