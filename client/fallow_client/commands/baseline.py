"""`fallow baseline`: what a device draws and holds when nothing runs on it."""

from argparse import ArgumentParser, Namespace

import msgspec

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.devices import uuid_argument
from fallow_client.commands.terminal import ANSWERED, answer_of_device, fetch_of_device, show, show_json
from fallow_client.views import devices as views


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("show", "accept"), help="accept: what it draws and holds now is idle")
    uuid_argument(parser)


def run(args: Namespace, client: Client) -> int:
    if args.action == "accept":
        answer_of_device(args, client, calls.accept_baseline, views.baseline)
        return ANSWERED
    call, body = fetch_of_device(args, client, calls.device)
    found = calls.decode(call, body).baseline  # of the same shape as what accept answers
    if args.json:
        show_json(msgspec.json.encode(found))
    else:
        show(views.baseline(found))
    return ANSWERED
