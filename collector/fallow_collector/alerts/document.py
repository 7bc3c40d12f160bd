"""The language of rules, the tables that they look at, and the built-in rules as Markdown, printed from the code.

    python -m fallow_collector.alerts.document
"""

import sys
from collections.abc import Iterable

from fallow_collector.alerts.language import FORMS, FUNCTIONS
from fallow_collector.alerts.rulefile import RuleSet, load
from fallow_collector.alerts.schema import TABLES, Column, Table, Type
from fallow_collector.idle.document import table

REASON = "reason_"


def document() -> str:
    """Sections, with a newline at the end."""
    shipped = load([])
    sections = (
        ("Conditions", _language()),
        *((f"Table `{name}`", _columns(found)) for name, found in TABLES.items()),
        ("Built-in rules", _rules(shipped)), ("Built-in inhibitions", _inhibitions(shipped)),
    )
    return "\n".join("\n".join([f"## {title}", "", *lines, ""]) for title, lines in sections)


def _language() -> Iterable[str]:
    functions = " · ".join(f"`{function.shown}`" for function in FUNCTIONS.values())
    yield from table(("form", "means"), ((f"`{form}`", means) for form, means in FORMS))
    yield ""
    yield f"Functions and operators, of numbers (x, y) and texts (t, u): {functions}"


def _columns(found: Table) -> Iterable[str]:
    labels = ", ".join(f"`{name}`" for name in found.labels)
    yield f"One row is {found.means}. Labels of its alerts: {labels}."
    yield ""
    yield from table(("column", "type", "means"), (
        (f"`{column.name}`", str(column.type), _cell(column.means) + _words(column))
        for column in found.columns.values() if not column.name.startswith(REASON)
    ))
    if any(name.startswith(REASON) for name in found.columns):
        yield f"| `{REASON}…` | {Type.TRUTH} | one column for each reason of [idle.md](idle.md#reasons) |"


def _words(column: Column) -> str:
    return ": " + ", ".join(f"`{word}`" for word in column.words) if column.words else ""


def _rules(shipped: RuleSet) -> Iterable[str]:
    return table(("rule", "over", "expr", "for_s", "keep_s", "severity", "what to do"), (
        (
            f"**{rule.name}**", rule.over, f"`{_cell(rule.expr)}`", f"{rule.for_s:g}", f"{rule.keep_s:g}",
            str(rule.severity), _cell(rule.annotations["description"].template),
        )
        for rule in shipped.rules
    ))


def _inhibitions(shipped: RuleSet) -> Iterable[str]:
    return table(("while this fires", "this is not told", "where these are equal"), (
        (_code(each.source), _code(each.target), _code(each.equal) or "–") for each in shipped.inhibitions
    ))


def _code(texts: Iterable[str]) -> str:
    return ", ".join(f"`{_cell(text)}`" for text in texts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
