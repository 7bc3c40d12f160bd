"""All rules over all tables: one query a table, over the columns that its rules name."""

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fallow_collector.alerts.engine import bounded, connect
from fallow_collector.alerts.evaluation import Evaluation, Held, Outcome
from fallow_collector.alerts.expression import Expression, parse
from fallow_collector.alerts.facts import Tables
from fallow_collector.alerts.fingerprints import fingerprints
from fallow_collector.alerts.rows import ColumnError, Rows
from fallow_collector.alerts.rule import Rule

MOST_ALERTS = 10_000
"""Of one rule. Whoever has more has one problem, not 10,000, and is told how many are left out."""

TOGETHER_S = 10.0
"""For one table's query; 100 rules over 80,000 rows take 0.2 s of CPU."""
ALONE_S = 2.0
"""For the query of one rule that failed together with the others."""
ALL_ALONE_S = 10.0
"""For all of these."""


class _Compiled(NamedTuple):
    rule: Rule
    expression: Expression


class Unknown(Container[str]):
    """Fingerprints of some rows, made when first asked for."""

    def __init__(self, rows: Rows, rule: Rule, indices: pa.Array) -> None:
        self.asked = False
        self._rows = rows
        self._rule = rule
        self._indices = indices
        self._made: frozenset[str] | None = None

    def __contains__(self, fingerprint: object) -> bool:
        self.asked = True
        try:
            return fingerprint in self.make()
        except ColumnError:
            return True  # which rows these are is not known either

    def make(self) -> frozenset[str]:
        if self._made is None:
            self._made = frozenset(self._rows.fingerprints(self._rule, self._indices))
        return self._made


class Evaluator:
    """Keeps a DuckDB of its own: one thread at a time. Raises ExpressionError for rules that `rulefile` did not check.

    A rule that fails is asked alone from then on, so that it costs the others nothing, until it succeeds again.
    """

    def __init__(self, rules: Iterable[Rule], most_alerts: int = MOST_ALERTS) -> None:
        self._connection = connect()
        self._most = most_alerts
        self._rules: dict[str, list[_Compiled]] = {}
        for rule in rules:
            expression = parse(rule.expr, rule.over, self._connection)
            self._rules.setdefault(rule.over, []).append(_Compiled(rule, expression))
        self._apart: set[str] = set()
        self._unknown: dict[str, Unknown] = {}

    def run(self, tables: Tables) -> Evaluation:
        """Raises nothing for what a rule or a table does."""
        began = time.perf_counter()
        asked = {name for name, unknown in self._unknown.items() if unknown.asked}
        self._unknown.clear()
        outcomes: dict[str, Outcome] = {}
        problems: dict[str, str] = {}
        failed: set[str] = set()
        for over, compiled in self._rules.items():
            if over not in tables:
                problems.update((rule.name, f"table {over!r} could not be made") for rule, _ in compiled)
                continue
            rows = Rows(tables[over], over)
            for (rule, _), answer in self._answers(rows, compiled):
                try:
                    if isinstance(answer, str):
                        raise ColumnError(answer)
                    outcomes[rule.name] = self._outcome(rows, rule, answer)
                except ColumnError as error:
                    problems[rule.name] = str(error)
                    failed.add(rule.name)
        self._apart = failed
        for name in asked & self._unknown.keys():  # it will be asked again, and here is no event loop that waits
            with suppress(ColumnError):
                self._unknown[name].make()
        return Evaluation(outcomes, problems, time.perf_counter() - began)

    def close(self) -> None:
        self._connection.close()

    def _answers(
        self, rows: Rows, compiled: Sequence[_Compiled]
    ) -> Iterator[tuple[_Compiled, pa.ChunkedArray | str]]:
        """Of each rule true, false or null of each row, or why there is no answer."""
        together = [one for one in compiled if one.rule.name not in self._apart]
        alone = [one for one in compiled if one.rule.name in self._apart]
        try:
            yield from zip(together, self._query(rows, together, TOGETHER_S), strict=True)
        except (duckdb.Error, ColumnError, pa.ArrowException):
            alone = [*together, *alone]
        until = time.monotonic() + ALL_ALONE_S
        for one in alone:
            if time.monotonic() > until:
                yield one, "no time was left after other rules that failed"
                continue
            try:
                [answer] = self._query(rows, [one], ALONE_S)
                yield one, answer
            except (duckdb.Error, ColumnError, pa.ArrowException) as error:
                yield one, str(error).strip().partition("\n")[0]

    def _query(self, rows: Rows, compiled: Sequence[_Compiled], seconds: float) -> list[pa.ChunkedArray]:
        if not compiled:
            return []
        if rows.length == 0:
            return [pa.chunked_array([], pa.bool_())] * len(compiled)
        named = frozenset().union(*(expression.columns for _, expression in compiled))
        predicates = ", ".join(f"{one.expression.sql} AS r{number}" for number, one in enumerate(compiled))
        self._connection.register("facts", rows.columns(named))
        try:
            with bounded(self._connection, seconds):
                found = self._connection.sql(f"SELECT {predicates} FROM facts").to_arrow_table()
        finally:
            self._connection.unregister("facts")
        return list(found.columns)

    def _outcome(self, rows: Rows, rule: Rule, answer: pa.ChunkedArray) -> Outcome:
        holds = pc.indices_nonzero(answer)
        unsaid = [holds[self._most:]]
        if answer.null_count:
            unsaid.append(pc.indices_nonzero(pc.is_null(answer)))
        self._unknown[rule.name] = Unknown(rows, rule, pa.concat_arrays(unsaid))
        held = list(_held(rows, rule, holds[: self._most]))
        return Outcome(held, self._unknown[rule.name], max(0, len(holds) - self._most))


def _held(rows: Rows, rule: Rule, indices: pa.Array) -> Iterator[Held]:
    count = len(indices)
    if not count:
        return
    labels = rows.labels(rule, indices)
    named = {name for template in rule.annotations.values() for name in template.get_identifiers()}
    texts = {name: text for name, text in {**labels, **rows.texts(named, indices)}.items() if name in named}
    seen = set()
    for fingerprint, own, said in zip(
        fingerprints(count, labels), _each_row(labels, count), _each_row(texts, count), strict=True
    ):
        if fingerprint not in seen:
            seen.add(fingerprint)
            yield Held(fingerprint, {name: text for name, text in own.items() if text}, {
                name: template.substitute(said) for name, template in rule.annotations.items()
            })


def _each_row(columns: Mapping[str, str | Sequence[str]], count: int) -> Iterator[dict[str, str]]:
    """columns: one text for all rows, or one a row."""
    listed = [repeat(texts, count) if isinstance(texts, str) else texts for texts in columns.values()]
    if not listed:
        yield from ({} for _ in range(count))
    for row in zip(*listed, strict=True):
        yield dict(zip(columns, row, strict=True))
