"""The words of `fallow fit` and `fallow reserve` that say which devices are wanted."""

from argparse import ArgumentParser, Namespace
from typing import get_args

import msgspec

from fallow_client.commands.quantities import flops, size
from fallow_client.commands.terminal import Misused
from fallow_proto.dispatch import Precision, Request
from fallow_proto.states import DeviceClass

SAME = ("link", "node", "rack", "site", "model")
SEVERAL = "a comma list or repeated for several"


def add_request(parser: ArgumentParser) -> None:
    of = Request()
    parser.add_argument("--count", type=int, default=of.count, metavar="N", help="devices (default: %(default)s)")
    parser.add_argument("--per-node", type=int, default=0, metavar="N", help="exactly so many on each node")
    parser.add_argument("--class", dest="device_class", choices=tuple(map(str, DeviceClass)), default=of.device_class,
                        help="(default: %(default)s)")
    _several(parser, "--vendor", "of this vendor")
    _several(parser, "--model", "of this model, as the driver prints it")
    parser.add_argument("--profile", default="", metavar="NAME", help="partitions such as 1g.10gb, not whole devices")
    parser.add_argument("--free-memory", type=size, default=0, metavar="SIZE", help="on each device, such as 64GiB")
    parser.add_argument("--flops", type=flops, default=0.0, metavar="N",
                        help="dense peak of each device at --precision, such as 300T")
    parser.add_argument("--precision", choices=get_args(Precision), default=of.precision, help="(default: %(default)s)")
    parser.add_argument("--same", choices=SAME, default="", help="all devices in one of these")
    parser.add_argument("--health", choices=("ok", "degraded"), default=of.health,
                        help="the worst that will do (default: %(default)s)")
    parser.add_argument("--power-headroom", type=float, default=0.0, metavar="WATTS",
                        help="between each device's power and its limit")
    parser.add_argument("--confidence", choices=("high", "low"), default=of.confidence,
                        help="low: devices that only one witness speaks for will do (default: %(default)s)")
    _several(parser, "--site", "at this site")
    _several(parser, "--exclude-site", "not at this site")
    _several(parser, "--exclude-node", "not on this node")


def request_of(args: Namespace) -> Request:
    """Raises Misused."""
    try:
        return msgspec.convert(
            {
                "count": args.count, "per_node": args.per_node, "class": args.device_class,
                "vendor": _words(args.vendor), "model": _words(args.model), "partition_profile": args.profile,
                "free_memory_bytes": args.free_memory, "peak_flops": args.flops, "precision": args.precision,
                "same": args.same, "health": args.health, "power_headroom_watts": args.power_headroom,
                "confidence": args.confidence, "sites": _words(args.site),
                "exclude_sites": _words(args.exclude_site), "exclude_nodes": _words(args.exclude_node),
            },
            Request,
        )
    except msgspec.ValidationError as error:
        raise Misused(f"the request makes no sense: {error}") from error


def _several(parser: ArgumentParser, flag: str, meaning: str) -> None:
    parser.add_argument(
        flag, action="append", default=[], metavar=flag.rpartition("-")[2].upper(), help=f"{meaning}; {SEVERAL}"
    )


def _words(given: list[str]) -> list[str]:
    return [word for text in given for word in text.split(",") if word]
