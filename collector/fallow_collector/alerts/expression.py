"""A rule's predicate: checked, and written anew from what was checked, so that nothing else can ever be executed.

DuckDB parses it to a tree (json_serialize_sql); the tree is walked, only what `language` lists is let through, types
are found on the way, and the SQL that is executed is put together from the tables of `language`, names of columns and
quoted literals.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any, NamedTuple

import duckdb

from fallow_collector.alerts import language
from fallow_collector.alerts.schema import TABLES, Column, Type

MOST_CHARACTERS = 2_000
MOST_LITERAL = 256
MOST_WILDCARDS = 8

NOT_ONE = "is more than one condition; expected a single one, without a name, FROM, WHERE, ORDER BY or semicolon"

_SELECT = "select "
_NOWHERE = 1 << 32  # DuckDB gives nodes that it made up itself a place beyond this


class ExpressionError(ValueError):
    """The message says where in the expression, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Expression:
    """sql: true, false or null of one row. columns: the ones of its table that it names."""

    sql: str
    columns: frozenset[str]


class _Term(NamedTuple):
    """words: all that it can be, of a column of states. text: of a literal one."""

    type: Type
    sql: str
    columns: frozenset[str]
    at: int
    words: tuple[str, ...] = ()
    text: str | None = None


_Node = Mapping[str, Any]


def parse(text: str, over: str, connection: duckdb.DuckDBPyConnection) -> Expression:
    """connection: of `engine.connect`; its thread. Raises ExpressionError."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"is {len(text):,} characters long, expected at most {MOST_CHARACTERS:,}")
    if not text.strip():
        raise ExpressionError("is empty, expected a condition, such as temperature_celsius > 85")
    walk = _Walk(text, TABLES[over].columns, over)
    term = walk.term(_only_node(text, connection))
    if term.type is not Type.TRUTH:
        raise walk.fault(
            term.at, f"gives {_a(term.type)}, expected a condition that is true or false, such as "
                     f"temperature_celsius > 85"
        )
    if not term.columns:
        raise ExpressionError(
            f"names no column, so it says nothing of a row; expected a condition over the columns of {over!r}"
        )
    for divisor in walk.divisors:
        if connection.execute(f"SELECT {divisor.sql}").fetchall() in ([(0.0,)], [(None,)]):
            raise walk.fault(divisor.at, "divides by zero, which is never known")
    _bind(term, TABLES[over].columns, connection)
    return Expression(term.sql, term.columns)


def _only_node(text: str, connection: duckdb.DuckDBPyConnection) -> _Node:
    """The one expression that the text is, and nothing beside."""
    try:
        [(serialized,)] = connection.execute("SELECT json_serialize_sql(? || ?)", [_SELECT, text]).fetchall()
    except duckdb.Error as error:
        raise ExpressionError(f"cannot be parsed: {_first_line(error)}") from error
    found = json.loads(serialized)
    if found["error"]:
        place = _place(text, int(found["position"])) if "position" in found else ""
        if found["error_type"] != "parser":  # whole statements, told in the words of the function that we call
            raise ExpressionError(NOT_ONE)
        raise ExpressionError(f"{place}{found['error_message']}")
    statements = found["statements"]
    node = statements[0]["node"]
    selected = node.get("select_list") or []
    bare = (
        len(statements) == 1 and len(selected) == 1 and not selected[0]["alias"] and not node["modifiers"]
        and node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY" and not node["cte_map"]["map"]
        and not any(node[clause] for clause in (
            "where_clause", "group_expressions", "group_sets", "having", "sample", "qualify",
        ))
    )
    if not bare:
        raise ExpressionError(NOT_ONE)
    return dict(selected[0])


def _bind(term: _Term, columns: Mapping[str, Column], connection: duckdb.DuckDBPyConnection) -> None:
    """DuckDB's own opinion of the types, over a row of which nothing is known."""
    row = ", ".join(f"NULL::{language.SQL_TYPE[columns[name].type]} AS {_name(name)}" for name in sorted(term.columns))
    try:
        connection.execute(f"SELECT {term.sql} FROM (SELECT {row})").fetchall()
    except duckdb.Error as error:
        raise ExpressionError(_first_line(error)) from error


class _Walk:
    """Over one tree. divisors: what is divided by and holds no column."""

    def __init__(self, text: str, columns: Mapping[str, Column], over: str) -> None:
        self._text = text
        self._columns = columns
        self._over = over
        self.divisors: list[_Term] = []

    def term(self, node: _Node) -> _Term:
        rule = _RULES.get(node["class"])
        at: int = node.get("query_location", _NOWHERE)
        if rule is None:
            raise self.fault(at, f"{_called(node)} is not part of the language of rules")
        return rule(self, node, at)

    def fault(self, at: int, message: str) -> ExpressionError:
        return ExpressionError(_place(self._text, at) + message)

    def column(self, node: _Node, at: int) -> _Term:
        name = ".".join(node["column_names"])
        if name not in self._columns:
            near = get_close_matches(name.lower(), self._columns, n=1)
            raise self.fault(at, f"table {self._over!r} has no column {name!r}" + (
                f"; did you mean {near[0]}?" if near else "; docs/alerts.md lists them"
            ))
        return _Term(self._columns[name].type, _name(name), frozenset((name,)), at, self._columns[name].words)

    def constant(self, node: _Node, at: int) -> _Term:
        kind, text = node["literal"]["kind"], node["literal"]["text"]
        if len(text) > MOST_LITERAL:
            raise self.fault(at, f"a literal of {len(text):,} characters, expected at most {MOST_LITERAL}")
        match kind:
            case "INTEGER" | "NUMERIC" if isfinite(float(text)):
                return _Term(Type.NUMBER, f"{float(text)!r}::DOUBLE", frozenset(), at)
            case "STRING" if text.isprintable():
                quoted = text.replace("'", "''")
                return _Term(Type.TEXT, f"'{quoted}'", frozenset(), at, text=text)
            case "BOOLEAN":
                return _Term(Type.TRUTH, "TRUE" if text == "true" else "FALSE", frozenset(), at)
            case "NULL_LITERAL":
                raise self.fault(at, "null is neither equal to anything nor different; expected x IS NULL")
            case _:
                raise self.fault(at, f"{text[:40]!r} is neither a number, printable text, true nor false")

    def comparison(self, node: _Node, at: int) -> _Term:
        operator = language.COMPARISONS.get(node["type"])
        if operator is None:
            raise self.fault(at, "expected one of = <> < <= > >=, or IS NULL")
        left, right = self._alike([self.term(node["left"]), self.term(node["right"])], operator in language.ORDERED)
        self._check_words(left, right)
        self._check_words(right, left)
        return _Term(Type.TRUTH, f"({left.sql} {operator} {right.sql})", left.columns | right.columns, at)

    def between(self, node: _Node, at: int) -> _Term:
        terms = self._alike([self.term(node[name]) for name in ("input", "lower", "upper")], ordered=True)
        value, lower, upper = (term.sql for term in terms)
        return _Term(Type.TRUTH, f"({value} BETWEEN {lower} AND {upper})", _columns(terms), at)

    def conjunction(self, node: _Node, at: int) -> _Term:
        terms = [self._of(Type.TRUTH, self.term(child)) for child in node["children"]]
        joined = f" {language.CONJUNCTIONS[node['type']]} ".join(term.sql for term in terms)
        return _Term(Type.TRUTH, f"({joined})", _columns(terms), at)

    def operator(self, node: _Node, at: int) -> _Term:
        terms = [self.term(child) for child in node["children"]]
        match node["type"]:
            case "OPERATOR_NOT":
                return _Term(Type.TRUTH, f"(NOT {self._of(Type.TRUTH, terms[0]).sql})", terms[0].columns, at)
            case "OPERATOR_IS_NULL":
                return _Term(Type.TRUTH, f"({terms[0].sql} IS NULL)", terms[0].columns, at)
            case "OPERATOR_IS_NOT_NULL":
                return _Term(Type.TRUTH, f"({terms[0].sql} IS NOT NULL)", terms[0].columns, at)
            case "COMPARE_IN":
                value, *among = self._alike(terms)
                self._check_words(value, *among)
                listed = ", ".join(term.sql for term in among)
                return _Term(Type.TRUTH, f"({value.sql} IN ({listed}))", _columns(terms), at)
            case "OPERATOR_COALESCE":
                listed = ", ".join(term.sql for term in self._alike(terms))
                return _Term(terms[0].type, f"coalesce({listed})", _columns(terms), at)
            case _:
                raise self.fault(at, f"{_called(node)} is not part of the language of rules")

    def case(self, node: _Node, at: int) -> _Term:
        whens = [self._of(Type.TRUTH, self.term(check["when_expr"])) for check in node["case_checks"]]
        thens = [self.term(check["then_expr"]) for check in node["case_checks"]]
        if not _is_null(node["else_expr"]):  # DuckDB writes the ELSE that is not there as null
            thens.append(self.term(node["else_expr"]))
        self._alike(thens)
        branches = " ".join(f"WHEN {when.sql} THEN {then.sql}" for when, then in zip(whens, thens, strict=False))
        other = f" ELSE {thens[-1].sql}" if len(thens) > len(whens) else ""
        return _Term(thens[0].type, f"(CASE {branches}{other} END)", _columns([*whens, *thens]), at)

    def function(self, node: _Node, at: int) -> _Term:
        name, given = node["function_name"], node["arguments"]
        function = language.FUNCTIONS.get((name, len(given)))
        plain = not (node["schema"] or node["catalog"] or node["distinct"] or node["filter"] or node["export_state"]
                     or node["order_bys"]["orders"] or any(argument["name"] for argument in given))
        if function is None or not plain:
            near = get_close_matches(name, {known for known, _ in language.FUNCTIONS}, n=1)
            raise self.fault(at, f"there is no function {name!r} of {len(given)} arguments in the language of rules"
                            + (f"; did you mean {near[0]}?" if near and near[0] != name else ""))
        terms = [
            self._of(wanted, self.term(argument["expression"]))
            for wanted, argument in zip(function.takes, given, strict=True)
        ]
        if function.literal:
            self._check_pattern(given[1]["expression"], terms[1])
        if name in language.DIVISIONS and not terms[1].columns:
            self.divisors.append(terms[1])
        return _Term(function.gives, function.sql.format(*(term.sql for term in terms)), _columns(terms), at)

    def _check_pattern(self, node: _Node, term: _Term) -> None:
        if node["class"] != "CONSTANT":
            raise self.fault(term.at, "a pattern must be written out, such as 'NVIDIA%'")
        if node["literal"]["text"].count("%") > MOST_WILDCARDS:
            raise self.fault(term.at, f"a pattern with more than {MOST_WILDCARDS} times %, expected fewer")

    def _check_words(self, state: _Term, *others: _Term) -> None:
        """A state is never equal to a word that is none of its own: such a rule would never hold, or always."""
        for other in others:
            if state.words and other.text is not None and other.text not in state.words:
                near = get_close_matches(other.text, state.words, n=1)
                raise self.fault(other.at, f"{_shown(state)} is never {other.sql}; " + (
                    f"did you mean {near[0]}?" if near else f"expected one of {', '.join(state.words)}"
                ))

    def _alike(self, terms: list[_Term], ordered: bool = False) -> list[_Term]:
        """The same terms, all of the first one's type."""
        if ordered and terms[0].type is Type.TRUTH:
            raise self.fault(
                terms[0].at, "what is true or false has no order; expected = or <>, or the condition itself"
            )
        return [self._of(terms[0].type, term) for term in terms]

    def _of(self, wanted: Type, term: _Term) -> _Term:
        if term.type is not wanted:
            raise self.fault(term.at, f"{_shown(term)} is {_a(term.type)}, expected {_a(wanted)}")
        return term


_RULES: Mapping[str, Callable[[_Walk, _Node, int], _Term]] = {
    "COLUMN_REF": _Walk.column, "CONSTANT": _Walk.constant, "COMPARISON": _Walk.comparison, "BETWEEN": _Walk.between,
    "CONJUNCTION": _Walk.conjunction, "OPERATOR": _Walk.operator, "CASE": _Walk.case, "FUNCTION": _Walk.function,
}


def _columns(terms: list[_Term]) -> frozenset[str]:
    return frozenset().union(*(term.columns for term in terms))


def _name(column: str) -> str:
    return f'"{column}"'


def _shown(term: _Term) -> str:
    return term.sql.replace('"', "").replace(".0::DOUBLE", "").replace("::DOUBLE", "")[:60]


def _a(kind: Type) -> str:
    return {Type.NUMBER: "a number", Type.TEXT: "text", Type.TRUTH: "true or false"}[kind]


def _called(node: _Node) -> str:
    return str(node["class"]).lower().replace("_", " ")


def _is_null(node: _Node) -> bool:
    return node["class"] == "CONSTANT" and bool(node["literal"]["kind"] == "NULL_LITERAL")


def _place(text: str, at: int) -> str:
    """at: in bytes of what was parsed; people count characters, from 1."""
    if at >= _NOWHERE:
        return ""
    before = text.encode()[: max(0, at - len(_SELECT))].decode(errors="ignore")
    return f"at character {len(before) + 1}: "


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().partition("\n")[0]
