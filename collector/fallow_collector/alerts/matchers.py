"""Alertmanager's matchers: `name="value"`, `!=`, `=~`, `!~`. Quotes may be left out around plain values.

A regular expression is RE2's, as Alertmanager's: it has no pattern that takes more than linear time, whoever wrote it
(Python's `re` would let one silence stop the collector). It must match the whole value.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

LONGEST = 1024
"""Characters of one matcher."""


class MatcherError(ValueError):
    """The text is no matcher; the message says what was found and what was expected."""


class Operator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
"""The name of a label, as Prometheus has it."""

_PARTS = re.compile(rf"\s*({LABEL.pattern})\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r"""[^\s{},"'`\\]*""")
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label that an alert does not have is "", as in Alertmanager."""

    name: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{quoted(self.value)}"

    def select(self, fingerprints: Sequence[str], labels: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Those of the fingerprints whose labels match."""
        name, value = self.name, self.value
        match self.operator:
            case Operator.EQUAL:
                return [each for each in fingerprints if labels[each].get(name, "") == value]
            case Operator.NOT_EQUAL:
                return [each for each in fingerprints if labels[each].get(name, "") != value]
        found = matching_values(value, {labels[each].get(name, "") for each in fingerprints})
        wanted = self.operator is Operator.REGEX
        return [each for each in fingerprints if (labels[each].get(name, "") in found) is wanted]


def parse(text: str) -> Matcher:
    """Raises MatcherError."""
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    if len(text) > LONGEST:
        raise MatcherError(f"matcher {shown!r} has {len(text)} characters, expected at most {LONGEST}")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise MatcherError(
            f'matcher {shown!r} is none; expected a label, one of = != =~ !~, and a value, such as node="n1"'
        )
    name, operator, raw = parts[1], Operator(parts[2]), parts[3]
    value = _unquoted(raw, shown)
    if operator in (Operator.REGEX, Operator.NOT_REGEX):
        try:
            pc.match_substring_regex(pa.array([""]), value)
        except pa.ArrowInvalid as error:
            raise MatcherError(f"matcher {shown!r}: {error}; expected a regular expression of RE2") from error
    return Matcher(name, operator, value)


def parse_all(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Raises MatcherError."""
    return tuple(parse(text) for text in texts)


def matching(matchers: Iterable[Matcher], labels: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The fingerprints of the alerts that all matchers match; no matcher: all. labels: by fingerprint."""
    left = list(labels)
    for matcher in matchers:
        left = matcher.select(left, labels)
    return left


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def matching_values(pattern: str, values: Iterable[str]) -> set[str]:
    """Of the values, those that the pattern matches whole."""
    distinct = list(values)
    mask = pc.match_substring_regex(pa.array(distinct, pa.string()), rf"\A(?s:{pattern})\z")
    return {value for value, holds in zip(distinct, mask.to_pylist(), strict=True) if holds}


def _unquoted(raw: str, shown: str) -> str:
    if not raw.startswith('"'):
        if _PLAIN.fullmatch(raw) is None:
            raise MatcherError(f'matcher {shown!r}: its value needs quotes, such as node="n1"')
        return raw
    inside = _QUOTED.fullmatch(raw)
    if inside is None:
        raise MatcherError(f'matcher {shown!r}: the quotes of its value do not close at its end; write \\" within it')
    return re.sub(r"\\(.)", lambda found: _unescaped(found[1], shown), inside[1], flags=re.DOTALL)


def _unescaped(character: str, shown: str) -> str:
    if character not in _ESCAPES:
        raise MatcherError(f'matcher {shown!r}: \\{character} is no escape; expected \\", \\\\ or \\n')
    return _ESCAPES[character]
