"""Rules are data: what is shipped can be read, and what is wrong in a file of one's own is named."""

from pathlib import Path

import numpy as np
import pytest

from fallow_collector.health.breaker import doubted
from fallow_collector.health.conditions import Conditions, Facts
from fallow_collector.health.rules import DERIVED, Breaker, PerLane, RulesError, ValueRule, load, shipped
from fallow_collector.health.words import Action, Severity
from fallow_proto.metrics import BY_NAME

RULE = '[[value]]\nname = "hot"\nseverity = "failed"\naction = "none"\nwhy = "x"\n'


def test_the_shipped_rules_name_metrics_that_there_are() -> None:
    rules = shipped()
    assert rules.version == 1
    for rule in rules.value:
        assert rule.reason or rule.column in BY_NAME or rule.column in DERIVED, rule.name
        assert rule.why


@pytest.mark.parametrize(("text", "told"), [
    ("version = 1\nversoin = 2", "versoin"),
    ("version = 1\n" + RULE + 'column = "powr_watts"\nabove = 1', "there is no metric 'powr_watts'"),
    ("version = 1\n" + RULE + 'column = "power_watts"', "expected one of above, below, equals and above_per_lane"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove = 1\nper = "minute"', "power_watts is none"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove = 1\noften = {at_least = 1, minutes = 2}', "often is for"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove = 1\noften = {at_least = 3, minutes = 2}', "at_least = 3"),
    ("version = 1\n" + RULE + 'reason = "tired"', "there is no reason 'tired'"),
    ("version = 1\n" + RULE.replace("failed", "bad"), "bad"),
    ('version = 1\n[[incidents.event]]\nkind = "xidd"\nwhy = "x"', "there is no such kind of event"),
    ("version = ", "Invalid value"),
    ("version = 1\n[incidents]\nquiet_s = {degraded = 5}", "quiet_s: info is missing; expected info, degraded, failed"),
    ("version = 1\n[incidents]\nburst_s = -1", "burst_s = -1, expected 0 to"),
    ("version = 1\n[incidents]\nrepeats = 0", "repeats = 0, expected 1 or more"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove = nan', "a limit is nan"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove = 1\nfor_s = nan', "for_s = nan, expected 0 to"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove_per_lane = {generation = "pcie_generation", '
     'lanes = "pcie_lanes", limits = []}', r"limits = \[\], expected a number for each generation"),
    ("version = 1\n" + RULE + 'column = "power_watts"\nabove_per_lane = {generation = "pcie", '
     'lanes = "pcie_lanes", limits = [1]}', "there is no metric 'pcie'"),
    ("version = 1\nx = " + "{a = " * 2000, "too deep"),
    ("version = 1\n" + "#" * (1 << 20), "is longer than 1,048,576 bytes"),
])
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(RulesError, match=told) as error:
        load(path)
    assert str(path) in str(error.value)


def test_replays_are_counted_as_dcgm_does_by_generation_and_lanes() -> None:
    """Gen 5 x16 makes 31 a minute; where generation or lanes are not known, nothing is said."""
    rule = ValueRule(
        name="replays", column="pcie_replays_total", per="minute", severity=Severity.DEGRADED, action=Action.NONE,
        why="bit errors", above_per_lane=PerLane(
            generation="pcie_generation_limit", lanes="pcie_lanes_limit", limits=(0.15, 0.3, 0.48, 0.96, 1.92, 3.84)
        ),
    )
    conditions = Conditions([rule])
    for minute, replays in enumerate(([0.0] * 4, [31.0, 32.0, 32.0, 32.0])):
        conditions.step(Facts(
            {"pcie_replays_total": np.array(replays), "pcie_generation_limit": np.array([5.0, 5.0, np.nan, 7.0]),
             "pcie_lanes_limit": np.full(4, 16.0)},
            np.full(4, 60_000 * minute), np.zeros(4, dtype=np.uint64), np.zeros(4, dtype=np.int64), ["H100"],
        ), 1 + 60_000 * minute)
    assert [[held.limit for held in conditions.of_row(row, 60_001)] for row in range(4)] == [[], [31.0], [], []]


def test_the_breaker_counts_within_its_time_and_lets_a_trickle_through() -> None:
    breaker = Breaker(ratio=0.05, devices=8, within_s=600)
    assert not doubted(breaker, np.arange(100) * 600_000, 1000).any()
    burst = np.zeros(100, dtype=np.int64)
    assert doubted(breaker, burst, 1000).sum() == 50
    assert doubted(breaker, burst, 100).sum() == 92
    later = np.concatenate([burst, [600_001]])
    assert list(np.flatnonzero(~doubted(breaker, later, 100))[-1:]) == [100]
