"""The rules as data: rules.toml, and how it is read."""

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from fallow_collector.health.words import Action, Mode, Severity
from fallow_collector.idle.reasons import BIT
from fallow_proto.metrics import BY_NAME, Kind
from fallow_proto.states import EventKind

DERIVED = ("clock_skew_seconds", "power_unreadable")
"""Values that rules may ask for beside the metrics."""


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
        if self.reason:
            if self.reason not in BIT:
                raise ValueError(f"rule {self.name!r}: there is no reason {self.reason!r}")
            return
        if self.column not in BY_NAME and self.column not in DERIVED:
            raise ValueError(f"rule {self.name!r}: there is no metric {self.column!r}")
        if sum(test is not None for test in (self.above, self.below, self.equals, self.above_per_lane)) != 1:
            raise ValueError(f"rule {self.name!r}: expected one of above, below, equals and above_per_lane")
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
        return _read(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{path} cannot be read: {error}") from error


def matches(model: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(model.lower(), pattern.lower()) for pattern in patterns)


def _read(text: str, name: str) -> Rules:
    try:
        found: Mapping[str, Any] = tomllib.loads(text)
        return msgspec.convert(found, Rules)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RulesError(f"{name}: {error}") from error
