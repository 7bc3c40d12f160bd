"""The keys of a file of rules, and what can be wrong with their values."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from string import Template
from typing import NamedTuple

import duckdb
import msgspec

from fallow_collector.alerts.expression import ExpressionError, parse
from fallow_collector.alerts.matchers import LABEL, MatcherError, parse_all
from fallow_collector.alerts.rule import Severity
from fallow_collector.alerts.schema import TABLES

LONGEST_S = 30 * 86_400.0
MOST_TEXT = 2_000
_GIVEN = ("alertname", "severity")


class RuleKeys(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    expr: str
    over: str = "device"
    for_s: float = 0.0
    keep_s: float = 0.0
    severity: Severity = Severity.WARNING
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class InhibitKeys(msgspec.Struct, frozen=True, kw_only=True):
    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...] = ()


class Fault(NamedTuple):
    """key: in its table, with a dot before a name of a label or an annotation."""

    key: str
    message: str


def of_rule(keys: RuleKeys, connection: duckdb.DuckDBPyConnection) -> Iterator[Fault]:
    if not keys.name or not keys.name.isprintable() or len(keys.name) > 128:
        yield Fault("name", f"{keys.name!r}, expected 1 to 128 printable characters")
    for key in ("for_s", "keep_s"):
        if not 0.0 <= getattr(keys, key) <= LONGEST_S:
            yield Fault(key, f"{getattr(keys, key):g}, expected 0 to {LONGEST_S:.0f} seconds")
    if keys.over not in TABLES:
        yield Fault("over", f"{unknown(keys.over, TABLES)}; expected one of {', '.join(TABLES)}")
        return
    try:
        parse(keys.expr, keys.over, connection)
    except ExpressionError as error:
        yield Fault("expr", f"{shortened(keys.expr)}: {error}")
    yield from _of_labels(keys)
    yield from _of_annotations(keys)


def _of_labels(keys: RuleKeys) -> Iterator[Fault]:
    taken = {*TABLES[keys.over].labels, *_GIVEN}
    for name, text in keys.labels.items():
        if not LABEL.fullmatch(name):
            yield Fault(f"labels.{name}", f"{name!r}, expected letters, digits and _, no digit first")
        elif name in taken:
            yield Fault(f"labels.{name}", f"every alert of this rule has a label {name!r} already; expected another "
                                          f"name than {', '.join(sorted(taken))}")
        if not text or not text.isprintable() or len(text) > MOST_TEXT:
            yield Fault(f"labels.{name}", f"{shortened(text)}, expected 1 to {MOST_TEXT:,} printable characters")


def _of_annotations(keys: RuleKeys) -> Iterator[Fault]:
    table = TABLES[keys.over]
    known = {*table.labels, *table.columns, *_GIVEN, *keys.labels}
    for name, text in keys.annotations.items():
        key = f"annotations.{name}"
        if not LABEL.fullmatch(name):
            yield Fault(key, f"{name!r}, expected letters, digits and _, no digit first")
        if len(text) > MOST_TEXT:
            yield Fault(key, f"has {len(text):,} characters, expected at most {MOST_TEXT:,}")
        template = Template(text)
        if not template.is_valid():
            yield Fault(key, f"{shortened(text)}: a $ that no name follows; expected $name, ${{name}}, or $$ for a "
                             f"dollar sign")
            continue
        for used in template.get_identifiers():
            if used not in known:
                yield Fault(key, f"${used}: {unknown(used, known)}; expected a label or a column of {keys.over!r}")


def of_inhibition(keys: InhibitKeys) -> Iterator[Fault]:
    for side, matchers in (("source", keys.source), ("target", keys.target)):
        if not matchers:
            yield Fault(side, "is empty, expected matchers such as 'alertname=\"NodeLost\"'")
        try:
            parse_all(matchers)
        except MatcherError as error:
            yield Fault(side, str(error))
    for name in keys.equal:
        if not LABEL.fullmatch(name):
            yield Fault("equal", f"{name!r} is no name of a label, expected such as node")


def unknown(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"there is no {name!r}" + (f", did you mean {near[0]}?" if near and near[0] != name else "")


def shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
