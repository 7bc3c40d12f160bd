"""Files of rules: TOML with [[rule]] and [[inhibit]]. Every fault in them is found at once, with file and line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, TypeVar

import duckdb
import msgspec

from fallow_collector.alerts.engine import connect
from fallow_collector.alerts.lines import Lines
from fallow_collector.alerts.rule import Inhibition, Rule, RuleError, Severity
from fallow_collector.alerts.rulekeys import InhibitKeys, RuleKeys, of_inhibition, of_rule, shortened, unknown
from fallow_collector.rules_text import TextError, document_of, text_of

BUILTIN = "builtin.toml"
_Keys = TypeVar("_Keys", bound=msgspec.Struct)

_KINDS: Mapping[str, type[msgspec.Struct]] = {"rule": RuleKeys, "inhibit": InhibitKeys}


@dataclass(frozen=True, slots=True)
class RuleSet:
    rules: tuple[Rule, ...]
    inhibitions: tuple[Inhibition, ...]


@dataclass(slots=True)
class _Found:
    """Of one file or several: what is good in them, and what is not."""

    rules: list[Rule] = field(default_factory=list)
    inhibitions: list[Inhibition] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def load(paths: Sequence[Path], builtin: bool = True) -> RuleSet:
    """The rules of these files, and the built-in ones that none of them replaces by its name.

    Raises RuleError with a line for each fault of all files; then nothing is loaded.
    """
    own, shipped = _Found(), _Found()
    connection = connect()
    try:
        for path in paths:
            try:
                _read(text_of(path), str(path), own, connection)
            except TextError as error:
                own.faults.append(f"{path}: {error}")
        if builtin:
            _read((files(__package__) / BUILTIN).read_text(encoding="utf-8"), BUILTIN, shipped, connection)
    finally:
        connection.close()
    faults = [*own.faults, *_twice(own.rules), *shipped.faults, *_twice(shipped.rules)]
    if faults:
        raise RuleError("\n".join(faults))
    replaced = {rule.name for rule in own.rules}
    rules = [*(rule for rule in shipped.rules if rule.name not in replaced), *own.rules]
    return RuleSet(tuple(rules), (*shipped.inhibitions, *own.inhibitions))


def _read(text: str, name: str, found: _Found, connection: duckdb.DuckDBPyConnection) -> None:
    try:
        document = document_of(text)
    except TextError as error:
        found.faults.append(f"{name}: {error}")
        return
    lines = Lines(text)
    for table, entries in document.items():
        if table not in _KINDS or not _are_tables(entries):
            line = lines.of(table, 0)
            where = name if line is None else f"{name}:{line}"
            what = f"{table} is not written as [[{table}]]" if table in _KINDS else unknown(table, _KINDS)
            found.faults.append(f"{where}: {what}; expected [[rule]] and [[inhibit]] tables")
            continue
        for position, entry in enumerate(entries):
            one = _Entry(name, table, position, entry, lines)
            if table == "rule":
                one.rule(found, connection)
            else:
                one.inhibition(found)


class _Entry:
    """One [[rule]] or [[inhibit]]."""

    def __init__(self, file: str, table: str, position: int, entry: Mapping[str, Any], lines: Lines) -> None:
        self._file = file
        self._table = table
        self._position = position
        self._entry = entry
        self._lines = lines

    def rule(self, found: _Found, connection: duckdb.DuckDBPyConnection) -> None:
        keys, faults = self._converted(RuleKeys)
        if keys is not None:
            faults.extend(self._fault(*fault) for fault in of_rule(keys, connection))
        found.faults.extend(faults)
        if keys is not None and not faults:
            found.rules.append(Rule(
                name=keys.name, over=keys.over, expr=keys.expr, for_s=keys.for_s, keep_s=keys.keep_s,
                severity=keys.severity, labels=keys.labels,
                annotations={name: Template(text) for name, text in keys.annotations.items()}, where=self._where(),
            ))

    def inhibition(self, found: _Found) -> None:
        keys, faults = self._converted(InhibitKeys)
        if keys is not None:
            faults.extend(self._fault(*fault) for fault in of_inhibition(keys))
        found.faults.extend(faults)
        if keys is not None and not faults:
            found.inhibitions.append(Inhibition(keys.source, keys.target, keys.equal, self._where()))

    def _converted(self, kind: type[_Keys]) -> tuple[_Keys | None, list[str]]:
        """Each key for itself, so that every bad one is told."""
        fields = {found.name: found for found in msgspec.structs.fields(kind)}
        values, faults = {}, []
        for key, value in self._entry.items():
            if key not in fields:
                faults.append(self._fault(key, f"unknown key; {unknown(key, fields)}; expected one of "
                                               f"{', '.join(fields)}"))
                continue
            try:
                values[key] = msgspec.convert(value, fields[key].type)
            except msgspec.ValidationError as error:
                words = f", expected one of {', '.join(Severity)}" if fields[key].type is Severity else f": {error}"
                faults.append(self._fault(key, shortened(str(value)) + words))
        required = [key for key, found in fields.items() if found.required]
        faults.extend(self._fault(key, "is missing") for key in required if key not in self._entry)
        return (kind(**values) if all(key in values for key in required) else None), faults

    def _where(self, key: str = "") -> str:
        line = self._lines.of(self._table, self._position, key)
        return f"{self._file}:{line}" if line is not None else f"{self._file}: {self._table} {self._position + 1}"

    def _fault(self, key: str, message: str) -> str:
        name = self._entry.get("name")
        called = f" {name!r}" if isinstance(name, str) else ""
        return f"{self._where(key)}: {self._table}{called}: {key}: {message}"


def _twice(rules: Sequence[Rule]) -> Iterator[str]:
    first: dict[str, Rule] = {}
    for rule in rules:
        other = first.setdefault(rule.name, rule)
        if other is not rule:
            yield (f"{rule.where}: rule {rule.name!r}: another rule is called so, in {other.where}; expected a name of "
                   f"its own for each")


def _are_tables(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
