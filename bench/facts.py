"""python -m bench.facts: what a look at the built-in rules costs with 80,000 devices, on the loop and in a thread."""

import tempfile
import time
from pathlib import Path

import numpy as np

from bench.watch import DEVICES, NODES, Site
from fallow_collector.alerts.evaluate import Evaluator
from fallow_collector.alerts.rulefile import load
from fallow_collector.alerts.schema import TABLES
from fallow_collector.alerts.wanted import columns_of
from fallow_collector.facts.collector import Itself
from fallow_collector.facts.node import Beside
from fallow_collector.facts.tables import Sources, Taker
from fallow_collector.health.board import Board
from fallow_collector.health.rules import shipped
from fallow_collector.ledgers.imports import Imports
from fallow_collector.state import State

TIMES = 30
WARM = 5


def main() -> None:
    site = Site()
    now = time.monotonic()
    site.fleet.apply(site.arrivals(range(NODES), now, 0))
    waiting = {f"n{number:05d}": now for number in range(NODES)}
    rules = load([], builtin=True).rules
    evaluator = Evaluator(rules)
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder))
        board = Board(shipped(), site.fleet, state, lambda *_: None, round(time.time() * 1000))
        board.tick(site.view.now().assessment.reasons, time.monotonic(), time.time())
        taker = Taker(Sources(
            site.fleet, site.engine, site.view, board, Imports(site.fleet, 60.0, site.engine.restart),
            beside=lambda _: Beside(waiting, {}, "0"),
            itself=lambda complete, age_s: Itself(
                "bench", "0", 1.0, complete, True, True, age_s, None, 0, None, None, 0, 0, 0
            ),
            site="bench",
        ))
        print(f"{NODES:,} nodes with {DEVICES} devices each; median of {TIMES}, and the longest")
        for what, wanted in (
            (f"{len(rules)} built-in rules", columns_of(rules)),
            ("every column of every table", {name: set(table.columns) for name, table in TABLES.items()}),
        ):
            took = []
            for _ in range(WARM + TIMES):
                site.view.refresh()
                began = time.thread_time()
                tables = taker.take(wanted)
                took.append(time.thread_time() - began)
            _say(f"facts for {what}, on the event loop", took)
            if wanted.keys() == columns_of(rules).keys():
                _say("their evaluation, in a thread", [evaluator.run(tables).took_s for _ in range(WARM + TIMES)])
            for table, columns in wanted.items():
                alone = []
                for _ in range(TIMES):
                    site.view.refresh()
                    began = time.thread_time()
                    taker.take({table: columns})
                    alone.append(time.thread_time() - began)
                _say(f"  {table} alone ({len(columns)} columns)", alone)
        state.close()
    evaluator.close()


def _say(what: str, took: list[float]) -> None:
    milliseconds = 1000 * np.array(took[-TIMES:])
    print(f"{what}: {np.median(milliseconds):.1f} ms, {milliseconds.max():.1f} ms")


if __name__ == "__main__":
    main()
