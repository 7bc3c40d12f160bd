"""The command fallow-sim: nodes that are not there, and recordings of ones that were."""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

from fallow_sim.beat import Beat
from fallow_sim.node import Node
from fallow_sim.profiles import PROFILES, assign
from fallow_sim.progress import Progress
from fallow_sim.recording import RecordingError
from fallow_sim.replay import Replay, beats, replay_reports
from fallow_sim.run import Target, play
from fallow_sim.tls import Tls, TlsError


class UsageError(Exception):
    """What was asked for cannot be done; the message says what can."""


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["replay"]:
            return _replay(_replay_parser().parse_args(words[1:]))
        return _simulate(_fleet_parser().parse_args(words))
    except (UsageError, RecordingError, TlsError) as error:
        print(f"fallow-sim: {error}", file=sys.stderr)
        return 2


def _simulate(options: argparse.Namespace) -> int:
    try:
        from fallow_sim.acked import write_acked
        from fallow_sim.rhythm import cohorts, of_fleet
        from fallow_sim.truth import write_truth
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is needed to simulate: pip install 'fallow[collector]'") from error
    start = time.time()
    fleet = cohorts(
        assign(_vendors(options.vendors), options.nodes), options.devices,
        site=options.site, seed=options.seed, interval_s=options.interval, start=start,
    )
    nodes = [node for cohort in fleet for node in cohort.nodes]
    ticks = of_fleet(fleet, start)
    if options.duration is not None:
        ticks = takewhile(lambda beat: beat.after_s < options.duration, ticks)
    failed = _play(ticks, nodes, start, options)
    if options.truth is not None:
        write_truth(options.truth, fleet, start, time.time())
    if options.acked is not None:
        write_acked(options.acked, fleet)
    return failed


def _replay(options: argparse.Namespace) -> int:
    start = time.time()
    moments = list(replay_reports(options.file, options.interval))
    name = options.node or options.file.name.split(".")[0]
    source = Replay(
        moments, node=name, site=options.site, interval_s=options.interval, start=start, speed=options.speed
    )
    node = Node(source)
    return _play(beats(node, source), [node], start, options)


def _play(ticks: Iterator[Beat], nodes: list[Node], start: float, options: argparse.Namespace) -> int:
    progress = Progress()
    tls = _tls(options)
    target = Target(options.collector, tls, 1 if tls and tls.nodes else options.streams_per_channel)

    def say(line: str) -> None:
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    async def until_signalled() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await play(ticks, start, nodes, target, progress, stop=stop, say=say, seed=options.seed)

    asyncio.run(until_signalled())
    if options.json:
        print(json.dumps(progress.summary()))
    return 0 if progress.welcomed else 1


def _tls(options: argparse.Namespace) -> Tls | None:
    if options.tls_ca is None:
        if options.tls_cert or options.tls_key or options.tls_nodes:
            raise UsageError("--tls-cert, --tls-key and --tls-nodes need --tls-ca: whose collector is to be trusted?")
        return None
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if options.tls_nodes and options.tls_cert:
        raise UsageError("--tls-cert is of all nodes, --tls-nodes of each its own: which is meant?")
    return Tls(options.tls_ca, options.tls_cert, options.tls_key, options.tls_nodes)


def _vendors(text: str) -> dict[str, int]:
    """Weights by vendor, out of "nvidia=8,ascend=1"; a vendor alone weighs 1."""
    vendors = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        if name not in PROFILES or not (weight or "1").isdigit() or weight == "0":
            raise UsageError(f"--vendors {part!r}: expected vendor=weight, the vendor one of {', '.join(PROFILES)}")
        vendors[name] = int(weight or 1)
    return vendors


def _fleet_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fallow-sim", description="A fleet with job-like load that speaks the real protocol.",
        epilog="fallow-sim replay FILE plays a recording instead: see fallow-sim replay --help",
    )
    parser.add_argument("--nodes", type=_whole, default=10)
    parser.add_argument("--devices", type=_whole, default=8, help="on each node")
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="S", help="between reports, 0.1 to 60")
    parser.add_argument("--vendors", default="nvidia", help="with weights, e.g. nvidia=8,ascend=1,metax=1")
    parser.add_argument("--duration", type=_positive, metavar="S", help="default: until interrupted")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write at the end when each device really was free")
    parser.add_argument("--acked", type=Path, metavar="FILE", help="write at the end what was said to be stored")
    parser.add_argument(
        "--streams-per-channel", type=_whole, default=100, metavar="N",
        help="nodes that share a connection; a collector allows 128",
    )
    _add_common(parser)
    return parser


def _replay_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fallow-sim replay", description="A recording as one node.")
    parser.add_argument("file", type=Path, help="CSV or CSV.gz with the columns unix_s, device, power_w, …")
    parser.add_argument("--node", help="default: the file's name")
    parser.add_argument("--speed", type=_positive, default=1.0, help="times as fast as recorded")
    parser.add_argument("--interval", type=_seconds, default=5.0, metavar="S", help="between reports, 0.1 to 60")
    parser.set_defaults(streams_per_channel=1)
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--collector", default="127.0.0.1:4917", metavar="HOST:PORT")
    parser.add_argument("--site", default="default")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same devices and same load")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="speak TLS, and whose collectors to trust")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE")
    parser.add_argument("--tls-key", type=Path, metavar="FILE")
    parser.add_argument(
        "--tls-nodes", type=Path, metavar="FOLDER",
        help="instead of both: NODE.pem of each node, key and certificate, and a connection for each",
    )
    parser.add_argument("--json", action="store_true", help="a summary on standard output at the end")
    parser.add_argument("--quiet", action="store_true", help="no line a second on standard error")
    parser.add_argument("--version", action="version", version=f"fallow-sim {version('fallow')}")


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0.1 <= number <= 60:
        raise argparse.ArgumentTypeError(f"{text} s is not within 0.1 to 60")
    return number
