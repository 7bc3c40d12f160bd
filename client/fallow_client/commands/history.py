"""`fallow history`: what a device said over time."""

import re
from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.devices import uuid_argument
from fallow_client.commands.terminal import ANSWERED, answer_of_device
from fallow_client.views.history import history

DEFAULT_COLUMNS = "utilization_ratio,memory_usage_bytes,power_watts"


def arguments(parser: ArgumentParser) -> None:
    uuid_argument(parser)
    parser.add_argument("--columns", default=DEFAULT_COLUMNS, metavar="A,B", help="metric names (default: %(default)s)")
    times = "unix seconds, RFC 3339, now, or a time ago such as 1h (default: %(default)s)"
    parser.add_argument("--start", type=_moment, default="-1h", metavar="TIME", help=times)
    parser.add_argument("--end", type=_moment, default="now", metavar="TIME", help=times)
    parser.add_argument("--step", default="1m", metavar="TIME", help="mean of so long, 0 for the rows as they came "
                        "(default: %(default)s)")


def run(args: Namespace, client: Client) -> int:
    columns = args.columns.split(",")
    answer_of_device(
        args, client, lambda uuid: calls.history(uuid, columns, args.start, args.end, args.step), history
    )
    return ANSWERED


def _moment(text: str) -> str:
    """The API's `-1h` without the minus sign, which a shell user would have to write `--start=-1h`."""
    return f"-{text}" if re.fullmatch(r"[\d.]+[smhdw]", text) else text
