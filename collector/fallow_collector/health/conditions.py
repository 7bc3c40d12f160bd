"""Conditions over the whole fleet at once: which rules hold of which devices, and since when. A row is a device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.health.rules import ValueRule, matches
from fallow_collector.health.words import Mode, Severity
from fallow_collector.idle.reasons import BIT

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MINUTE_MS = 60_000
NEVER_MS = np.iinfo(np.int64).max
SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Of n devices. values: by column, float64[n], NaN where not known; time_ms: int64[n], the agent's stamp of the
    newest reading, below 0: none; reasons: uint64[n], bits of idle.reasons; model: the position of each in `models`."""

    values: Mapping[str, Floats]
    time_ms: NDArray[np.int64]
    reasons: NDArray[np.uint64]
    model: NDArray[np.int64]
    models: Sequence[str]


class Held(NamedTuple):
    """A rule that holds of a device. since_ms: unix milliseconds. value, limit: NaN for a reason, and until it is read
    again after a restart."""

    rule: ValueRule
    since_ms: int
    value: float
    limit: float


class Holding(NamedTuple):
    """An enforced rule and all devices of which it holds for as long as it wants: rows intp[n]; since_ms, value, limit:
    of each, as in Held."""

    rule: ValueRule
    rows: NDArray[np.intp]
    since_ms: NDArray[np.int64]
    value: Floats
    limit: Floats


class _Rate:
    """What a counter gained over the last whole minute; it starts anew when the counter falls."""

    def __init__(self) -> None:
        self.fresh = np.zeros(0, dtype=np.bool_)  # where a minute has just ended
        self._base = np.zeros(0)
        self._base_ms = np.zeros(0, dtype=np.int64)
        self._rate = np.zeros(0)

    def step(self, value: Floats, time_ms: NDArray[np.int64]) -> Floats:
        more = len(value) - len(self._base)
        if more:
            self._base = np.concatenate([self._base, np.full(more, np.nan)])
            self._base_ms = np.concatenate([self._base_ms, np.full(more, -1, dtype=np.int64)])
            self._rate = np.concatenate([self._rate, np.full(more, np.nan)])
        known = np.isfinite(value)
        begins = known & (~np.isfinite(self._base) | (value < self._base) | (time_ms < self._base_ms))
        passed = time_ms - self._base_ms
        self.fresh = whole = known & ~begins & (passed >= MINUTE_MS)
        self._rate[whole] = (value[whole] - self._base[whole]) * MINUTE_MS / passed[whole]
        self._rate[begins | ~known] = np.nan
        self._base[begins | whole] = value[begins | whole]
        self._base_ms[begins | whole] = time_ms[begins | whole]
        return self._rate


class _Minutes:
    """In how many of the last minutes something held: a bit a minute, the newest lowest."""

    def __init__(self, minutes: int) -> None:
        self._window = np.uint64((1 << minutes) - 1)
        self._held = np.zeros(0, dtype=np.uint64)

    def step(self, held: Bools, fresh: Bools) -> Floats:
        more = len(held) - len(self._held)
        if more:
            self._held = np.concatenate([self._held, np.zeros(more, dtype=np.uint64)])
        new = self._held[fresh] << np.uint64(1) | held[fresh].astype(np.uint64)
        self._held[fresh] = new & self._window
        return np.bitwise_count(self._held).astype(np.float64)


class _Clock:
    """Since when something has held without a break; what is not known leaves it as it was."""

    def __init__(self) -> None:
        self.since_ms = np.zeros(0, dtype=np.int64)  # 0: it does not hold
        self.value = np.zeros(0)
        self.limit = np.zeros(0)

    def grow(self, count: int) -> None:
        more = count - len(self.since_ms)
        if more > 0:
            self.since_ms = np.concatenate([self.since_ms, np.zeros(more, dtype=np.int64)])
            self.value = np.concatenate([self.value, np.full(more, np.nan)])
            self.limit = np.concatenate([self.limit, np.full(more, np.nan)])

    def step(self, holds: Bools, fails: Bools, value: Floats, limit: Floats, now_ms: int) -> None:
        self.since_ms[fails] = 0
        self.since_ms[holds & (self.since_ms == 0)] = now_ms
        self.value[holds] = value[holds]
        self.limit[holds] = limit[holds]


class Conditions:
    """Not thread-safe."""

    def __init__(self, rules: Sequence[ValueRule]) -> None:
        self._rules = rules
        self._clocks = {rule.name: _Clock() for rule in rules}
        self._rates = {rule.column: _Rate() for rule in rules if rule.per}
        self._minutes = {
            position: _Minutes(rule.often.minutes) for position, rule in enumerate(rules) if rule.often is not None
        }
        self._rule_of: dict[str, NDArray[np.int64]] = {}

    def step(self, facts: Facts, now_ms: int) -> None:
        """Look at the fleet as it is. now_ms: unix milliseconds."""
        count = len(facts.reasons)
        rates = {
            column: rate.step(facts.values[column], facts.time_ms) for column, rate in self._rates.items()
            if column in facts.values
        }
        self._rule_of = {}
        for name, clock in self._clocks.items():
            clock.grow(count)
            rule_of = self._rule_of[name] = np.full(count, -1, dtype=np.int64)
            for position, rule in enumerate(self._rules):
                if rule.name == name:
                    asked = rule_of < 0
                    if rule.models:
                        asked &= _of_models(rule, facts)
                    rule_of[asked] = position
                    self._ask(position, clock, asked, facts, rates, now_ms)

    def weigh(self, now_ms: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """What enforced rules make of the first `count` rows: positions in words.Severity, and since when (unix ms)
        each is failed by the first of them."""
        worst = np.zeros(count, dtype=np.uint8)
        failed_ms = np.full(count, NEVER_MS, dtype=np.int64)
        for position, rule in enumerate(self._rules):
            if rule.mode is not Mode.ENFORCE or rule.severity is Severity.INFO:
                continue
            since_ms = self._clocks[rule.name].since_ms[:count]
            holds = (since_ms > 0) & (now_ms - since_ms >= rule.for_s * 1000)
            holds &= self._rule_of[rule.name][:count] == position
            worst[holds] = np.maximum(worst[holds], SEVERITIES.index(rule.severity))
            if rule.severity is Severity.FAILED:
                failed_ms[holds] = np.minimum(failed_ms[holds], since_ms[holds])
        return worst, failed_ms

    def of_row(self, row: int, now_ms: int) -> Iterator[Held]:
        """What holds of a device for as long as its rule wants."""
        for name, clock in self._clocks.items():
            if row >= len(clock.since_ms) or not clock.since_ms[row] or row >= len(self._rule_of.get(name, ())):
                continue
            since_ms, rule = int(clock.since_ms[row]), self._rules[int(self._rule_of[name][row])]
            if now_ms - since_ms >= rule.for_s * 1000:
                yield Held(rule, since_ms, float(clock.value[row]), float(clock.limit[row]))

    def holding(self, now_ms: int) -> Iterator[Holding]:
        for position, rule in enumerate(self._rules):
            clock, rule_of = self._clocks[rule.name], self._rule_of.get(rule.name)
            if rule.mode is Mode.ENFORCE and rule_of is not None:
                since_ms = clock.since_ms[: len(rule_of)]
                held = (since_ms > 0) & (now_ms - since_ms >= rule.for_s * 1000) & (rule_of == position)
                rows = np.flatnonzero(held)
                if len(rows):
                    yield Holding(rule, rows, since_ms[rows], clock.value[rows], clock.limit[rows])

    def standing(self) -> Mapping[str, NDArray[np.int64]]:
        """Since when (unix ms) each condition stands, by rule: int64[n], 0 where it does not."""
        return {name: clock.since_ms for name, clock in self._clocks.items()}

    def counts(self, now_ms: int, alive: Bools) -> Iterator[tuple[ValueRule, int]]:
        """Of how many rows each rule holds for as long as it wants."""
        for position, rule in enumerate(self._rules):
            rule_of = self._rule_of.get(rule.name, np.zeros(0, dtype=np.int64))
            since_ms = self._clocks[rule.name].since_ms[: len(rule_of)]
            rows = np.flatnonzero(since_ms)  # few of many
            holds = alive[rows] & (rule_of[rows] == position) & (now_ms - since_ms[rows] >= rule.for_s * 1000)
            yield rule, int(np.count_nonzero(holds))

    def shift(self, by_ms: int) -> None:
        """The wall clock was set by so much: what stands has stood for as long as before."""
        for clock in self._clocks.values():
            stands = clock.since_ms > 0
            clock.since_ms[stands] = np.maximum(clock.since_ms[stands] + by_ms, 1)

    def resume(self, name: str, row: int, since_ms: int) -> None:
        """It held before a restart, since then; whether it still does, the next readings say."""
        clock = self._clocks.get(name)
        if clock is not None:
            clock.grow(row + 1)
            clock.since_ms[row] = since_ms

    def _ask(
        self, position: int, clock: _Clock, asked: Bools, facts: Facts, rates: Mapping[str, Floats], now_ms: int
    ) -> None:
        rule = self._rules[position]
        nothing = np.full(len(asked), np.nan)
        if rule.reason:
            stands = (facts.reasons & BIT[rule.reason]) != 0
            clock.step(asked & stands, asked & ~stands, nothing, nothing, now_ms)
            return
        source = rates if rule.per else facts.values
        value = source.get(rule.column)
        if value is None:
            return
        limit = _limit(rule, facts)
        known = np.isfinite(value)
        if rule.equals is not None:
            holds = known & np.isin(value, rule.equals)
        else:
            known &= np.isfinite(limit)
            holds = known & ((value < limit) if rule.below is not None else (value > limit))
        if rule.often is not None:
            value = self._minutes[position].step(holds, self._rates[rule.column].fresh)
            limit = np.full(len(asked), rule.often.at_least - 1.0)
            holds = known & (value > limit)
        clock.step(asked & holds, asked & known & ~holds, value, limit, now_ms)


def _of_models(rule: ValueRule, facts: Facts) -> Bools:
    match = np.array([matches(model, rule.models) for model in facts.models], dtype=np.bool_)
    return match[facts.model]


def _limit(rule: ValueRule, facts: Facts) -> Floats:
    count = len(facts.reasons)
    if rule.above_per_lane is None:
        number = rule.above if rule.above is not None else rule.below
        return np.full(count, np.nan if number is None else number)
    per = rule.above_per_lane
    generation = facts.values.get(per.generation)
    lanes = facts.values.get(per.lanes)
    if generation is None or lanes is None:
        return np.full(count, np.nan)
    known = np.isfinite(generation) & (generation >= 1) & (generation <= len(per.limits))
    each = np.array(per.limits)[np.where(known, generation, 1).astype(np.int64) - 1]
    return np.where(known, np.ceil(each * lanes), np.nan)
