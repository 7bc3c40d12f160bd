"""`fallow ledgers`: the schedulers that hand out devices, and how old their word is."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.terminal import ANSWERED, answer
from fallow_client.views.ledgers import ledgers


def arguments(parser: ArgumentParser) -> None:
    """None of its own."""


def run(args: Namespace, client: Client) -> int:
    answer(args, client, calls.ledgers(), ledgers)
    return ANSWERED
