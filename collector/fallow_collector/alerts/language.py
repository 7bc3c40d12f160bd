"""The language of rules as tables: DuckDB's SQL expressions, as far as rules may use them.

What is left out can be said otherwise, or would let the unknown pass for known: `greatest`, `least` and `concat` skip
nulls, `IS DISTINCT FROM` takes null for a value.
"""

from collections.abc import Mapping
from typing import NamedTuple

from fallow_collector.alerts.schema import Type

NUMBER, TEXT, TRUTH = Type.NUMBER, Type.TEXT, Type.TRUTH

SQL_TYPE: Mapping[Type, str] = {NUMBER: "DOUBLE", TEXT: "VARCHAR", TRUTH: "BOOLEAN"}

COMPARISONS: Mapping[str, str] = {
    "COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<", "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">", "COMPARE_GREATERTHANOREQUALTO": ">=",
}
"""DuckDB's name of a node → the operator. Both sides have the same type; truth has no order."""

ORDERED = frozenset({"<", "<=", ">", ">="})

CONJUNCTIONS: Mapping[str, str] = {"CONJUNCTION_AND": "AND", "CONJUNCTION_OR": "OR"}


class Function(NamedTuple):
    """sql: with its arguments as {0}, {1}. literal: the second argument must be written out, not be a column."""

    takes: tuple[Type, ...]
    gives: Type
    sql: str
    shown: str
    literal: bool = False


def _infix(name: str) -> Function:
    # What overflows is infinite, and from two infinities comes NaN: greater than every number, were it not made null.
    return Function((NUMBER, NUMBER), NUMBER, f"nullif({{0}} {name} {{1}}, 'nan'::DOUBLE)", f"x {name} y")


def _of_number(name: str) -> Function:
    return Function((NUMBER,), NUMBER, f"{name}({{0}})", f"{name}(x)")


def _like(operator: str, shown: str) -> Function:
    return Function((TEXT, TEXT), TRUTH, f"({{0}} {operator} {{1}})", f"t {shown} 'a%_'", literal=True)


FUNCTIONS: Mapping[tuple[str, int], Function] = {
    **{(name, 2): _infix(name) for name in "+-*/%"},
    ("-", 1): Function((NUMBER,), NUMBER, "(-{0})", "-x"),
    ("+", 1): Function((NUMBER,), NUMBER, "{0}", "+x"),
    **{(name, 1): _of_number(name) for name in ("abs", "round", "floor", "ceil")},
    ("lower", 1): Function((TEXT,), TEXT, "lower({0})", "lower(t)"),
    ("upper", 1): Function((TEXT,), TEXT, "upper({0})", "upper(t)"),
    ("~~", 2): _like("LIKE", "LIKE"),
    ("!~~", 2): _like("NOT LIKE", "NOT LIKE"),
    ("~~*", 2): _like("ILIKE", "ILIKE"),
    ("!~~*", 2): _like("NOT ILIKE", "NOT ILIKE"),
    ("starts_with", 2): Function((TEXT, TEXT), TRUTH, "starts_with({0}, {1})", "starts_with(t, u)"),
    ("contains", 2): Function((TEXT, TEXT), TRUTH, "contains({0}, {1})", "contains(t, u)"),
}
"""By name and number of arguments."""

DIVISIONS = frozenset({"/", "%"})

FORMS: tuple[tuple[str, str], ...] = (
    ("x > y · >= · < · <=", "both numbers, or both text"),
    ("x = y · <>", "both of one type"),
    ("x BETWEEN y AND z", "numbers or text; the bounds belong to it"),
    ("x IN (y, z) · NOT IN", "all of one type"),
    ("p AND q · p OR q · NOT p", "of what is true or false"),
    ("x IS NULL · IS NOT NULL", "whether it is not known; always true or false"),
    ("COALESCE(x, y)", "the first that is known, of one type"),
    ("CASE WHEN p THEN x ELSE y END", "of one type; where p is not known, what ELSE says"),
)
"""What stands beside the functions, for people."""
