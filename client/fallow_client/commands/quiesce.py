"""`fallow quiesce`: have a node's agent let go of every vendor's devices for a while, or come back."""

from argparse import ArgumentParser, Namespace

from fallow_client import calls
from fallow_client.client import Client
from fallow_client.commands.quantities import seconds
from fallow_client.commands.terminal import ANSWERED, FAILED, answer
from fallow_client.views.quiesce import outcome
from fallow_proto.quiescing import QuiesceRequest


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="a node's name")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--for", dest="for_s", type=seconds, metavar="TIME",
                      help="after which its readers come back by themselves, such as 10m; at most 24h")
    what.add_argument("--resume", action="store_true", help="come back now")
    parser.add_argument("--force", action="store_true", help="also while somebody has devices of the node")


def run(args: Namespace, client: Client) -> int:
    call = calls.resume(args.node) if args.resume else calls.quiesce(
        args.node, QuiesceRequest(for_s=args.for_s, force=args.force)
    )
    told = answer(args, client, call, lambda found: outcome(found, resumed=args.resume))
    return ANSWERED if told.done else FAILED
