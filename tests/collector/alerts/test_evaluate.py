"""Rules over tables: what holds, what is not known, and what fails alone."""

from collections.abc import Mapping
from math import inf, nan
from string import Template

import pyarrow as pa
import pytest

from fallow_collector.alerts.alert import fingerprint
from fallow_collector.alerts.evaluate import Evaluator
from fallow_collector.alerts.evaluation import Outcome
from fallow_collector.alerts.facts import Facts, Tables
from fallow_collector.alerts.rule import Rule, Severity
from tests.collector.alerts.facts_made import facts, numbers

HOT = "temperature_celsius > 85"


def rule(
    name: str, expr: str, over: str = "device", labels: Mapping[str, str] | None = None, **annotations: str
) -> Rule:
    return Rule(
        name=name, over=over, expr=expr, for_s=0.0, keep_s=0.0, severity=Severity.WARNING, labels=labels or {},
        annotations={key: Template(text) for key, text in annotations.items()}, where="rules.toml:1",
    )


def outcome(expr: str, table: Facts) -> Outcome:
    evaluation = Evaluator([rule("R", expr)]).run({"device": table})
    assert not evaluation.problems
    return evaluation.outcomes["R"]


def uuids(found: Outcome) -> list[str]:
    return [row.labels["uuid"] for row in found.held]


def labels_of(name: str, uuid: str) -> dict[str, str]:
    row = dict.fromkeys(("node", "site", "vendor", "model", "class"), "x")
    return {**row, "uuid": uuid, "alertname": name, "severity": "warning"}


def test_a_row_holds_does_not_or_is_unknown() -> None:
    found = outcome(HOT, facts(
        "device", {"uuid": "a", "temperature_celsius": 90.0}, {"uuid": "b", "temperature_celsius": 80.0}, {"uuid": "c"},
    ))
    assert uuids(found) == ["a"]
    assert fingerprint(labels_of("R", "c")) in found.unknown
    assert fingerprint(labels_of("R", "b")) not in found.unknown
    assert fingerprint(labels_of("R", "a")) not in found.unknown


def test_labels_are_the_row_s_and_the_rule_s_and_an_empty_one_is_none() -> None:
    table = facts("device", {"uuid": "a", "model": "", "vendor": None, "temperature_celsius": 90.0})
    [held] = Evaluator([rule("R", HOT, labels={"team": "hpc"})]).run({"device": table}).outcomes["R"].held
    assert held.labels == {
        "uuid": "a", "node": "x", "site": "x", "class": "x", "team": "hpc", "alertname": "R", "severity": "warning",
    }
    assert held.fingerprint == fingerprint(dict(held.labels))


def test_annotations_are_written_for_people() -> None:
    said = "$power_watts W, $memory_usage_bytes B, $pcie_lanes, $utilization_ratio, $ecc_enabled, $uuid, $team, $$"
    table = facts("device", {
        "uuid": "a", "temperature_celsius": 90.0, "power_watts": 123.456, "memory_usage_bytes": 85899345920.0,
        "utilization_ratio": 0.123456, "ecc_enabled": False,
    })
    [held] = Evaluator([rule("R", HOT, labels={"team": "hpc"}, summary=said)]).run({"device": table}).outcomes["R"].held
    assert held.annotations == {"summary": "123.5 W, 85,900,000,000 B, unknown, 0.1235, false, a, hpc, $"}


@pytest.mark.parametrize("expr", [
    HOT, "temperature_celsius >= 85", "85 < temperature_celsius", "temperature_celsius <> 85",
    "NOT temperature_celsius <= 85", "temperature_celsius NOT IN (1, 2)", "temperature_celsius NOT BETWEEN 1 AND 2",
    "temperature_celsius * 2 > 85", "abs(temperature_celsius) > 85", "floor(temperature_celsius) > 85",
    "temperature_celsius = temperature_celsius", "temperature_celsius - temperature_celsius < 1",
    "-temperature_celsius < 85", "1 / temperature_celsius < 85",
    "CASE WHEN temperature_celsius > 85 THEN reason_lost END",
])
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_no_number_makes_nothing_true(expr: str, value: float) -> None:
    table = numbers("device", temperature_celsius=[value, value], reason_lost=[1.0, 1.0])
    found = outcome(expr, Facts(2, lambda name: (
        pa.array([True, True]) if name == "reason_lost" else table.column(name)
    )))
    assert uuids(found) == []


@pytest.mark.parametrize("expr", [
    "power_watts / power_limit_watts > 85", "power_watts / power_limit_watts < 85",
    "power_watts % power_limit_watts >= 0",
    "NOT power_watts / power_limit_watts > 85", "power_limit_watts / power_limit_watts > 85",
    "(power_watts * 1e300 * 1e300 * 1e300) - (power_watts * 1e300 * 1e300 * 1e300) > 85",
    "(power_watts * 1e300 * 1e300 * 1e300) * power_limit_watts > 85",
])
def test_what_divides_by_zero_or_overflows_to_nothing_is_unknown(expr: str) -> None:
    found = outcome(expr, numbers("device", power_watts=[5.0], power_limit_watts=[0.0]))
    assert uuids(found) == []
    assert fingerprint({
        **{label: f"{label}-0" for label in ("uuid", "node", "site", "vendor", "model", "class")},
        "alertname": "R", "severity": "warning",
    }) in found.unknown


@pytest.mark.parametrize(("expr", "holds"), [
    ("reason_lost AND temperature_celsius > 85", []), ("reason_lost OR temperature_celsius > 85", ["lost"]),
    ("temperature_celsius IS NULL", ["lost", "fine"]), ("coalesce(temperature_celsius, 99) > 85", ["lost", "fine"]),
])
def test_logic_has_three_values(expr: str, holds: list[str]) -> None:
    table = facts("device", {"uuid": "lost", "reason_lost": True}, {"uuid": "fine", "reason_lost": False})
    assert uuids(outcome(expr, table)) == holds


def test_only_named_columns_are_made_and_those_of_annotations_only_when_something_holds() -> None:
    made = []
    table = facts("device", {"uuid": "a", "temperature_celsius": 20.0})

    def column(name: str) -> pa.Array:
        made.append(name)
        return table.column(name)

    Evaluator([rule("R", HOT, summary="$power_watts"), rule("S", HOT)]).run({"device": Facts(1, column)})
    assert made == ["temperature_celsius"]


def test_a_table_that_could_not_be_made_leaves_its_rules_alone() -> None:
    evaluator = Evaluator([rule("R", HOT), rule("N", "NOT seen", over="node")])
    evaluation = evaluator.run({"node": facts("node", {"seen": False})})
    assert evaluation.outcomes.keys() == {"N"}
    assert evaluation.problems == {"R": "table 'device' could not be made"}


def test_a_table_without_rows_was_looked_at() -> None:
    found = outcome(HOT, facts("device"))
    assert (list(found.held), found.omitted) == ([], 0)
    assert "9266ef3da838ad95" not in found.unknown


def broken(name: str) -> Tables:
    """One column cannot be made, or is of another type than the schema says."""
    table = facts("device", {"uuid": "a", "temperature_celsius": 90.0, "power_watts": 1.0})

    def column(asked: str) -> pa.Array:
        match name, asked:
            case "raises", "power_watts":
                raise OverflowError("too much")
            case "short", "power_watts":
                return pa.array([], pa.float64())
            case "text", "power_watts":
                return pa.array(["warm"])
        return table.column(asked)

    return {"device": Facts(1, column)}


@pytest.mark.parametrize(("how", "problem"), [
    ("raises", "column power_watts could not be made: OverflowError: too much"),
    ("short", "column power_watts has 0 rows, expected 1"), ("text", "Binder Error"),
])
def test_a_rule_that_fails_fails_alone_and_comes_back(how: str, problem: str) -> None:
    evaluator = Evaluator([rule("R", HOT), rule("P", "power_watts > 0"), rule("Q", "temperature_celsius > 1")])
    for _ in range(2):  # together with the others first, apart from then on
        evaluation = evaluator.run(broken(how))
        assert evaluation.outcomes.keys() == {"R", "Q"}
        assert evaluation.problems.keys() == {"P"}
        assert evaluation.problems["P"].startswith(problem)
    assert evaluator.run(broken("not")).outcomes.keys() == {"R", "Q", "P"}


def test_a_column_of_an_annotation_that_cannot_be_made_is_the_problem_of_its_rule() -> None:
    evaluation = Evaluator([rule("R", HOT, summary="$power_watts"), rule("Q", HOT)]).run(broken("raises"))
    assert evaluation.outcomes.keys() == {"Q"}
    assert evaluation.problems.keys() == {"R"}


def test_of_rows_that_cannot_be_named_nothing_is_said_to_be_over() -> None:
    table = facts("device", {"uuid": "a"})

    def column(name: str) -> pa.Array:
        if name == "uuid":
            raise OverflowError("too much")
        return table.column(name)

    evaluator = Evaluator([rule("R", HOT)])
    for _ in range(2):  # made when it is asked, and from then on before
        assert fingerprint(labels_of("R", "a")) in evaluator.run({"device": Facts(1, column)}).outcomes["R"].unknown


def test_beyond_the_bound_rows_are_counted_and_neither_told_nor_said_to_be_over() -> None:
    table = facts("device", *({"uuid": str(number), "temperature_celsius": 90.0} for number in range(5)))
    found = Evaluator([rule("R", HOT)], most_alerts=3).run({"device": table}).outcomes["R"]
    assert uuids(found) == ["0", "1", "2"]
    assert found.omitted == 2
    assert fingerprint(labels_of("R", "3")) in found.unknown


def test_rows_of_the_same_labels_are_one_alert() -> None:
    row = {"uuid": "a", "temperature_celsius": 90.0}
    assert uuids(outcome(HOT, facts("device", row, row))) == ["a"]


def test_unknown_rows_are_the_same_whether_made_before_they_are_asked_for_or_after() -> None:
    evaluator, table = Evaluator([rule("R", HOT)]), facts("device", {"uuid": "a"})
    for _ in range(3):
        assert fingerprint(labels_of("R", "a")) in evaluator.run({"device": table}).outcomes["R"].unknown


def test_columns_may_be_dictionaries() -> None:
    table = facts("device", {"uuid": "a", "model": "M", "temperature_celsius": 90.0})

    def column(name: str) -> pa.Array:
        found = table.column(name)
        return found.dictionary_encode() if pa.types.is_string(found.type) else found

    found = outcome(f"{HOT} AND model = 'M'", Facts(1, column))
    assert uuids(found) == ["a"]
