"""A rule: a predicate over the rows of one table, and what is said of a row for which it holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from string import Template


class Severity(StrEnum):
    """From the mildest; the label `severity` of an alert."""

    NONE = "none"  # of the rule that always fires
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class RuleError(Exception):
    """A rule cannot be used; the message names file and line, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Rule:
    """name: unique, the label `alertname`. over: a table of `schema.TABLES`. where: "file:line", for messages.

    for_s: how long the predicate must hold without a break before the alert fires. keep_s: how long it must not hold
    before it is resolved, so that flapping is one alert (Prometheus' keep_firing_for). labels: beside the row's and
    the rule's own. annotations: of `$name` for any label or column of the table.
    """

    name: str
    over: str
    expr: str
    for_s: float
    keep_s: float
    severity: Severity
    labels: Mapping[str, str]
    annotations: Mapping[str, Template]
    where: str


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert that `source` matches fires, those that `target` matches are not told, if both have the same value
    in each label of `equal`. source, target: matchers, such as `alertname="NodeLost"`."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...]
    where: str
