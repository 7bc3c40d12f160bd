"""`fallow slurm sync`: Slurm's allocations become a ledger, once or for ever."""

import logging
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace

import msgspec
from rich.text import Text

from fallow_client.client import Client
from fallow_client.commands.terminal import ANSWERED, show, show_json
from fallow_client.errors import FallowError
from fallow_client.slurm.sync import Drainer, put, read
from fallow_proto.dispatch import LedgerState

DRAIN_EVERY_S = 30.0

log = logging.getLogger(__name__)


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("sync",), help="read Slurm and tell the collector what is allocated")
    parser.add_argument(
        "--every", type=_seconds, default=5.0, metavar="S", help="between readings (default %(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="one reading, and end; its failure is the exit status")
    parser.add_argument(
        "--drain", action="store_true",
        help="drain nodes whose devices are faulty, or in use without a job, and resume what was drained so",
    )


def run(args: Namespace, client: Client) -> int:
    """Raises FallowError with --once; without, failures are logged and the next round tries again."""
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr, level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    drainer = Drainer() if args.drain else None
    if args.once:
        state = _round(client, drainer)
        if args.json:
            show_json(msgspec.json.encode(state))
        else:
            show([_line(state)])
        return ANSWERED
    _for_ever(client, drainer, args.every)
    return ANSWERED


def _round(client: Client, drainer: Drainer | None) -> LedgerState:
    found = read()
    state = put(client, found)
    if drainer is not None:
        drainer.round(client, found)
    return state


def _for_ever(client: Client, drainer: Drainer | None, every_s: float) -> None:
    said = ""
    drained_at = float("-inf")
    while True:
        began = time.monotonic()
        turn = drainer if began - drained_at >= DRAIN_EVERY_S else None
        try:
            state = _round(client, turn)
            news = "; ".join(state.unmatched[:8])
        except FallowError as error:
            news = f"not imported: {error}"
        if turn is not None:
            drained_at = began
        if news != said:
            log.log(logging.WARNING if news else logging.INFO, "%s", news or "imported; everything fits")
            said = news
        time.sleep(max(0.0, every_s - (time.monotonic() - began)))


def _line(state: LedgerState) -> Text:
    text = Text(f"{state.name}: {state.allocated} of {state.devices} devices on {state.nodes} nodes are allocated")
    for line in state.unmatched:
        text.append(f"\n  does not fit: {line}")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= 60:
        raise ArgumentTypeError(f"{text!r}: expected 0.5 to 60 seconds; a ledger is stale after [idle] ledger_stale_s")
    return seconds
