"""The rules as data: rules.toml, and how it is read."""

from fnmatch import fnmatchcase
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Literal

import msgspec

from fallow_collector.health.words import Action, Mode, Severity
from fallow_collector.idle.reasons import BIT
from fallow_collector.rules_text import TextError, document_of, text_of
from fallow_proto.metrics import BY_NAME, Kind
from fallow_proto.states import EventKind

DERIVED = ("clock_skew_seconds", "power_unreadable")
"""Values that rules may ask for beside the metrics."""


LONGEST_S = 400 * 86_400.0
"""As long as roll-ups are kept."""


class RulesError(ValueError):
    """The message says where in the file, what was found and what was expected."""


class EventRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of these codes is otherwise than the catalogue has it; models: patterns, empty for all."""

    kind: str
    codes: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    severity: Severity | None = None
    action: Action | None = None
    mode: Mode = Mode.ENFORCE
    why: str

    def __post_init__(self) -> None:
        if self.kind not in tuple(EventKind):
            raise ValueError(f"kind = {self.kind!r}: there is no such kind of event")


class Folding(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How events become incidents. Seconds."""

    burst_s: float = 180.0
    repeats: int = 5
    repeat_s: float = 86_400.0
    reboots: int = 2
    jobs: int = 3
    jobs_s: float = 3600.0
    flaps: int = 3
    flaps_s: float = 43_200.0
    quiet_s: dict[Severity, float] = msgspec.field(
        default_factory=lambda: {Severity.INFO: 600.0, Severity.DEGRADED: 3600.0, Severity.FAILED: 86_400.0}
    )
    event: tuple[EventRule, ...] = ()

    def __post_init__(self) -> None:
        for key in ("burst_s", "repeat_s", "jobs_s", "flaps_s"):
            _check_seconds(f"[incidents] {key}", getattr(self, key))
        for severity in Severity:
            if severity not in self.quiet_s:
                raise ValueError(f"[incidents] quiet_s: {severity} is missing; expected {', '.join(Severity)}")
            _check_seconds(f"[incidents] quiet_s, {severity}", self.quiet_s[severity])
        for key in ("repeats", "reboots", "jobs", "flaps"):
            if getattr(self, key) < 1:
                raise ValueError(f"[incidents] {key} = {getattr(self, key)}, expected 1 or more")

    def of(self, kind: str, code: int | None, model: str) -> EventRule | None:
        """The first rule that is about it."""
        return next((
            rule for rule in self.event
            if rule.kind == kind and (not rule.codes or code in rule.codes) and matches(model, rule.models)
        ), None)

    @property
    def burst_ms(self) -> int:
        return round(self.burst_s * 1000)

    @property
    def repeat_ms(self) -> int:
        return round(self.repeat_s * 1000)

    @property
    def flaps_ms(self) -> int:
        return round(self.flaps_s * 1000)

    @property
    def jobs_ms(self) -> int:
        return round(self.jobs_s * 1000)

    def quiet_ms(self, severity: Severity) -> int:
        return round(self.quiet_s[severity] * 1000)


class PerLane(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A threshold that is made of a link's generation, counted from 1, and its lanes; rounded up."""

    generation: str
    lanes: str
    limits: tuple[float, ...]

    def __post_init__(self) -> None:
        for column in (self.generation, self.lanes):
            if column not in BY_NAME:
                raise ValueError(f"above_per_lane: there is no metric {column!r}")
        if not self.limits or not all(map(isfinite, self.limits)):
            raise ValueError(f"above_per_lane: limits = {list(self.limits)}, expected a number for each generation")


class Often(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """In so many of the last minutes that were measured."""

    at_least: int
    minutes: int

    def __post_init__(self) -> None:
        if not 1 <= self.at_least <= self.minutes <= 64:
            raise ValueError(
                f"often: expected 1 <= at_least <= minutes <= 64, found at_least = {self.at_least}, "
                f"minutes = {self.minutes}"
            )


class ValueRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A condition that holds while a value lies above, below or at a number, or while a reason of the judgement stands.

    per "minute": not the counter but what it gained over the last minute; often: that in several minutes. models:
    patterns, empty for all; of several rules of one name the first whose models match is asked.
    """

    name: str
    severity: Severity
    action: Action
    mode: Mode = Mode.ENFORCE
    why: str
    column: str = ""
    reason: str = ""
    above: float | None = None
    below: float | None = None
    equals: tuple[float, ...] | None = None
    above_per_lane: PerLane | None = None
    per: Literal["", "minute"] = ""
    often: Often | None = None
    for_s: float = 0.0
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_seconds(f"rule {self.name!r}: for_s", self.for_s)
        if self.reason:
            if self.reason not in BIT:
                raise ValueError(f"rule {self.name!r}: there is no reason {self.reason!r}")
            return
        if self.column not in BY_NAME and self.column not in DERIVED:
            raise ValueError(f"rule {self.name!r}: there is no metric {self.column!r}")
        if sum(test is not None for test in (self.above, self.below, self.equals, self.above_per_lane)) != 1:
            raise ValueError(f"rule {self.name!r}: expected one of above, below, equals and above_per_lane")
        for limit in (self.above, self.below, *(self.equals or ())):
            if limit is not None and not isfinite(limit):
                raise ValueError(f"rule {self.name!r}: a limit is {limit}, expected a number that values can reach")
        if self.per and (self.column in DERIVED or BY_NAME[self.column].kind is not Kind.COUNTER):
            raise ValueError(f"rule {self.name!r}: per = {self.per!r} is for counters, and {self.column} is none")
        if self.often is not None and (self.above is None or not self.per):
            raise ValueError(f"rule {self.name!r}: often is for above and per = \"minute\"")


class Breaker(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """More of the fleet than this, newly failed by rules within so many seconds, and the rules are doubted."""

    ratio: float = 0.05
    devices: int = 8
    within_s: float = 600.0


class Rules(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    version: int
    incidents: Folding = msgspec.field(default_factory=Folding)
    breaker: Breaker = msgspec.field(default_factory=Breaker)
    value: tuple[ValueRule, ...] = ()


def shipped() -> Rules:
    return _read((files(__package__) / "rules.toml").read_text(encoding="utf-8"), "rules.toml")


def load(path: Path) -> Rules:
    """An operator's own rules. Raises RulesError."""
    try:
        return _read(text_of(path), str(path))
    except TextError as error:
        raise RulesError(f"{path}: {error}") from error


def matches(model: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(model.lower(), pattern.lower()) for pattern in patterns)


def _check_seconds(what: str, seconds: float) -> None:
    if not 0.0 <= seconds <= LONGEST_S:
        raise ValueError(f"{what} = {seconds:g}, expected 0 to {LONGEST_S:.0f} seconds")


def _read(text: str, name: str) -> Rules:
    try:
        return msgspec.convert(document_of(text), Rules)
    except (TextError, msgspec.ValidationError) as error:
        raise RulesError(f"{name}: {error}") from error
