"""100 rules over 80,000 devices, one tick. `python -m bench.alerts`, about 10 s."""

import time
from collections.abc import Iterator, Mapping, Sequence
from string import Template

import numpy as np
import pyarrow as pa

from fallow_collector.alerts.evaluate import Evaluator
from fallow_collector.alerts.facts import Facts
from fallow_collector.alerts.rule import Rule, Severity
from fallow_collector.alerts.rulefile import load
from fallow_collector.alerts.schema import TABLES, Type
from fallow_proto.metrics import NAMES

DEVICES, RULES, TICKS = 80_000, 100, 10
UNKNOWN_SHARE = 0.1
SOUND: Mapping[str, float | bool] = {
    "temperature_slowdown_celsius": 90.0, "temperature_margin_celsius": 40.0, "power_limit_default_watts": 0.0,
    "persistence_mode": 1.0, "pcie_lanes": 16.0, "pcie_generation": 4.0, "ecc_enabled": True, "learned": True,
}
"""So that of the built-in rules few hold, as in a fleet."""


def run() -> None:
    """The built-in rules, then 100 over all columns, which hold for few rows, and then one of them for half."""
    shipped = [rule for rule in load([]).rules if rule.over == "device"]
    few = list(_rules(RULES, 0.9999))
    storm = next(_rules(1, 0.5))
    some = _devices({})
    for name, rules, table in (
        (f"{len(shipped)} built-in rules", shipped, _devices(SOUND)), (f"{RULES} rules", few, some),
        (f"{RULES} rules, one of them for half of the devices,", [*few[1:], storm], some),
    ):
        evaluator = Evaluator(rules)
        found = evaluator.run({"device": table})
        held = sum(len(outcome.held) for outcome in found.outcomes.values())
        took, worked = zip(*(_ask(evaluator, table, rules) for _ in range(TICKS)), strict=True)
        p50, p99 = np.quantile(took, (0.5, 0.99))
        print(f"alerts: {name} over {DEVICES:,} devices, {held:,} alerts: a tick p50 {1000 * p50:.0f} ms, "
              f"p99 {1000 * p99:.0f} ms; CPU p50 {1000 * np.median(worked):.0f} ms")
        evaluator.close()


def _ask(evaluator: Evaluator, table: Facts, rules: Sequence[Rule]) -> tuple[float, float]:
    """Seconds and seconds of CPU of one tick, with the question of one alert that is not known any more."""
    began, worked = time.perf_counter(), time.process_time()
    found = evaluator.run({"device": table})
    assert "" not in found.outcomes[rules[0].name].unknown
    return time.perf_counter() - began, time.process_time() - worked


def _rules(count: int, above: float) -> Iterator[Rule]:
    for number in range(count):
        column, other = (NAMES[(number * step) % len(NAMES)] for step in (1, 7))
        yield Rule(
            name=f"Rule{number}{above}", over="device", expr=f"{column} > {above} AND {other} * 2 > 0.01", for_s=0.0,
            keep_s=0.0, severity=Severity.WARNING, labels={"team": "hpc"},
            annotations={"summary": Template(f"$uuid on $node: ${column}")}, where="bench:1",
        )


def _devices(given: Mapping[str, float | bool]) -> Facts:
    """given: columns of one value."""
    random = np.random.default_rng(1)
    made: dict[str, pa.Array] = {}

    def column(name: str) -> pa.Array:
        if name not in made:
            made[name] = pa.array([given[name]] * DEVICES) if name in given else _column(name, random)
        return made[name]

    return Facts(DEVICES, column)


def _column(name: str, random: np.random.Generator) -> pa.Array:
    table = TABLES["device"]
    match table.columns[name].type:
        case Type.NUMBER:
            values = random.random(DEVICES)
            values[random.random(DEVICES) < UNKNOWN_SHARE] = np.nan
            return pa.array(values, from_pandas=True)
        case Type.TRUTH:
            return pa.array(random.random(DEVICES) < 0.0001)
        case _:
            many = {"uuid": DEVICES, "node": DEVICES // 8}.get(name, 3)
            return pa.array([f"{name}-{number % many:05d}" for number in range(DEVICES)])


if __name__ == "__main__":
    run()
