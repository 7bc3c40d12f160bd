"""python -m bench [agent | collector | restart | store | dispatch | fit | watch | alerts]

Prints how fast and how large; without a word, all of it.
"""

import argparse
import os
import platform
import subprocess
import sys

import psutil

from bench import agent, collector

STEPS = (2_000, 4_000, 6_000, 8_000, 10_000)
"""Sizes of fleet that are tried one after the other until one does not fit this machine."""

APART = {
    "store": "the embedded store alone",
    "dispatch": "judging, capacity and durable reserves with 80,000 devices",
    "fit": "whether requests fit, over 80,000 devices",
    "watch": "from a change of phase to its watchers, with 80,000 devices",
    "alerts": "100 rules over 80,000 devices",
}


def main() -> None:
    options = _parser().parse_args()
    print(f"{psutil.cpu_count()} CPUs ({platform.machine()}), {psutil.virtual_memory().total / 2**30:.0f} GiB, "
          f"Python {platform.python_version()}; load average before {os.getloadavg()[0]:.2f}", flush=True)
    match options.what:
        case "agent":
            agent.run(options.seconds)
        case "collector":
            collector.run(options.nodes, options.seconds)
        case "restart":
            collector.restart(options.nodes)
        case what if what in APART:
            _apart(what)
        case _:
            _everything()


def _everything() -> None:
    agent.run(120)
    for nodes in (100, 1_000):
        collector.run(nodes, 20)
    for nodes in STEPS:
        if not collector.run(nodes, 20).fits:
            print(f"  {nodes:,} nodes do not fit this machine beside their simulator")
            break
    collector.restart(1_000)
    for what in APART:
        _apart(what)


def _apart(what: str) -> None:
    """In a process of its own: its memory is not to be this one's."""
    print(flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{what}"], check=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    what = parser.add_subparsers(dest="what")
    one = what.add_parser("agent", help=agent.__doc__)
    one.add_argument("--seconds", type=float, default=120)
    one = what.add_parser("collector", help="throughput, delay and memory with one size of fleet")
    one.add_argument("--nodes", type=int, default=1_000)
    one.add_argument("--seconds", type=float, default=20)
    one = what.add_parser("restart", help="of the collector: until all is live and judged again")
    one.add_argument("--nodes", type=int, default=1_000)
    for name, measured in APART.items():
        what.add_parser(name, help=measured)
    return parser


main()
