"""Each built-in rule: facts for which it fires, facts for which it does not, and facts of which nothing is known."""

import re
from typing import NamedTuple

import pytest

from fallow_client.cli import COMMANDS
from fallow_collector.alerts.evaluate import Evaluator
from fallow_collector.alerts.matchers import matching, parse_all
from fallow_collector.alerts.rule import Rule, Severity
from fallow_collector.alerts.rulefile import load
from tests.collector.alerts.facts_made import Value, facts

BUILTIN = load([])
BY_NAME = {rule.name: rule for rule in BUILTIN.rules}

Row = dict[str, Value]


class Case(NamedTuple):
    rule: str
    fires: Row
    silent: Row


GPU: Row = {"class": "intelligent"}
LOADED: Row = {"utilization_ratio": 0.9, "pcie_lanes_limit": 16, "pcie_generation_limit": 4, "pcie_generation": 4}
HEAT: Row = {"temperature_slowdown_celsius": 90}
SERVING: Row = {"service": "in_service"}
GONE: Row = {"seen": True, "connected": False, "maintenance": False}
WHOLE: Row = {"partitioned": False}
LONG: Row = {**WHOLE, "phase_s": 601}
FALLEN: Row = {**GPU, "idle_highest_5m": 10}

CASES = (
    Case("NodeNeverSeen", {"seen": False}, {"seen": True, "connected": False}),
    Case("NodeLost", GONE, {**GONE, "seen": False}),
    Case("NodeLost", GONE, {**GONE, "connected": True, "age_s": 900}),
    Case("NodeLost", GONE, {**GONE, "maintenance": True}),
    Case("TelemetryAbsent", {"connected": True}, {"connected": False}),
    Case("TelemetryAbsent", {"connected": True}, {"connected": True, "age_s": 0.5}),
    Case("TelemetryStale", {"connected": True, "age_s": 31}, {"connected": True, "age_s": 29}),
    Case("TelemetryStale", {"connected": True, "age_s": 31}, {"connected": False, "age_s": 31}),
    Case("ReaderFailing", {"state": "stuck"}, {"state": "ok"}),
    Case("ReaderFailing", {"state": "failed"}, {"state": "absent"}),
    Case("SpoolDropping", {"spool_dropped_age_s": 5}, {"spool_dropped_age_s": 601}),
    Case("DeviceLost", {"reason_device_lost": True}, {"reason_device_lost": False, "reason_lost": True}),
    Case("DeviceAbsent", {**SERVING, "freshness": "absent"}, {**SERVING, "freshness": "lost"}),
    Case("DeviceHot", {**HEAT, "temperature_celsius": 86}, {**HEAT, "temperature_celsius": 84}),
    Case("DeviceHot", {"temperature_margin_celsius": 4}, {"temperature_margin_celsius": 30}),
    Case("DeviceHot", {"temperature_margin_celsius": 1}, {"temperature_margin_celsius": -3}),
    Case("PowerLimitLowered", {"power_limit_watts": 300, "power_limit_default_watts": 400},
         {"power_limit_watts": 400, "power_limit_default_watts": 400}),
    Case("PcieNarrowed", {**LOADED, "pcie_lanes": 8}, {**LOADED, "pcie_lanes": 16}),
    Case("PcieNarrowed", {**LOADED, "pcie_generation": 1}, {**LOADED, "pcie_generation": 1, "utilization_ratio": 0.0}),
    Case("EccOff", {**GPU, "ecc_enabled": False}, {**GPU, "ecc_enabled": True}),
    Case("PersistenceOff", {**GPU, "persistence_mode": 0}, {**GPU, "persistence_mode": 1}),
    Case("RemapPending", {"remap_pending": 1}, {"remap_pending": 0, "retirement_pending": 0}),
    Case("RemapPending", {"retirement_pending": 1}, {"retirement_pending": 0}),
    Case("IncidentFailed", {"health_severity": "failed"}, {"health_severity": "degraded"}),
    Case("IncidentDegraded", {"health_severity": "degraded"}, {"health_severity": "info"}),
    Case("DeviceVerifyingLong", {**LONG, "phase": "verifying"}, {**WHOLE, "phase": "verifying", "phase_s": 60}),
    Case("DeviceVerifyingLong", {**LONG, "phase": "verifying"}, {"phase": "idle", "phase_s": 6000}),
    Case("DeviceReleasingLong", {**LONG, "phase": "releasing"}, {**WHOLE, "phase": "releasing", "phase_s": 60}),
    Case("DeviceUnknownLong", {**LONG, **SERVING, "phase": "unknown"},
         {**LONG, **SERVING, "phase": "unknown", "partitioned": True}),
    Case("DeviceUnknownLong", {**LONG, **SERVING, "phase": "unknown"},
         {**LONG, "service": "maintenance", "phase": "unknown"}),
    Case("BaselineUnlearned", {**GPU, **WHOLE, "learned": False}, {**GPU, **WHOLE, "learned": True}),
    Case("BaselineUnlearned", {**GPU, **WHOLE, "learned": False}, {**WHOLE, "class": "general", "learned": False}),
    Case("IdleWaste", {"leased_idle": True}, {"leased_idle": False}),
    Case("CapacityExhausted", {**GPU, "seen": 8, "idle": 0}, {**GPU, "seen": 8, "idle": 1}),
    Case("CapacityExhausted", {**GPU, "seen": 8, "idle": 0}, {**GPU, "seen": 0, "idle": 0}),
    Case("CapacityFell", {**FALLEN, "idle": 8}, {**FALLEN, "idle": 9}),
    Case("CapacityFell", {**GPU, "idle_highest_5m": 2, "idle": 0}, {**GPU, "idle_highest_5m": 1, "idle": 0}),
    Case("LedgerStale", {"stale": True}, {"stale": False, "age_s": 5}),
    Case("NodeUnacknowledged", {"unacknowledged_s": 61}, {"unacknowledged_s": 59}),
    Case("NodeCertificateExpires", {"certificate_remaining_ratio": 0.24}, {"certificate_remaining_ratio": 0.26}),
    Case("NodeClockSkewed", {"clock_skew_s": -1.5}, {"clock_skew_s": 0.5}),
    Case("VersionDrift", {"version_differs": True}, {"version_differs": False}),
    Case("ViewIncomplete", {"complete": False}, {"complete": True}),
    Case("StoreFailing", {"store_commits": False}, {"store_commits": True}),
    Case("StateFailing", {"state_commits": False}, {"state_commits": True}),
    Case("AcknowledgementLate", {"unacknowledged_s": 61}, {"unacknowledged_s": 59}),
    Case("StoreFull", {"store_full_in_s": 80_000}, {"store_full_in_s": 90_000}),
    Case("CertificateExpires", {"certificate_remaining_ratio": 0.24}, {"certificate_remaining_ratio": 0.26}),
    Case("ReceiversFailing", {"receivers_failing": 1}, {"receivers_failing": 0, "dead_letters": 0}),
    Case("ReceiversFailing", {"dead_letters": 1}, {"receivers_failing": 0}),
    Case("RulesFailing", {"rules_failing": 1}, {"rules_failing": 0}),
    Case("Watchdog", {"up_s": 0.0}, {}),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_built_in_rule_fires_when_it_should_and_only_then(case: Case) -> None:
    rule = BY_NAME[case.rule]
    table = facts(rule.over, {"site": "fires", **case.fires}, {"site": "silent", **case.silent}, {"site": "unknown"})
    evaluation = Evaluator([rule]).run({rule.over: table})
    assert not evaluation.problems
    assert [held.labels["site"] for held in evaluation.outcomes[rule.name].held] == ["fires"]


def test_every_built_in_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == BY_NAME.keys()


@pytest.mark.parametrize("rule", BUILTIN.rules, ids=lambda rule: rule.name)
def test_a_built_in_rule_says_what_is_and_what_to_do(rule: Rule) -> None:
    assert rule.annotations.keys() == {"summary", "description"}
    summary, description = rule.annotations["summary"].template, rule.annotations["description"].template
    assert len(summary) < 120
    assert description.endswith(".")
    commands = {command.name for command in COMMANDS} | {"alerts"}
    assert set(re.findall(r"`fallow (\w+)", description)) <= commands
    said = {name for template in rule.annotations.values() for name in template.get_identifiers()}
    assert said or rule.name == "Watchdog"


def test_one_rule_always_fires_and_is_no_trouble() -> None:
    assert [rule.name for rule in BUILTIN.rules if rule.severity is Severity.NONE] == ["Watchdog"]


def labels(name: str, **more: str) -> dict[str, str]:
    return {"alertname": name, "severity": str(BY_NAME[name].severity), "site": "s", **more}


@pytest.mark.parametrize(("greater", "lesser"), [
    (labels("NodeLost", node="n"), labels("DeviceUnknownLong", node="n", uuid="u")),
    (labels("NodeLost", node="n"), labels("DeviceLost", node="n", uuid="u")),
    (labels("NodeNeverSeen", node="n"), labels("DeviceAbsent", node="n", uuid="u")),
    (labels("DeviceLost", node="n", uuid="u"), labels("DeviceHot", node="n", uuid="u")),
    (labels("DeviceLost", node="n", uuid="u"), labels("DeviceAbsent", node="n", uuid="u")),
    (labels("DeviceAbsent", node="n", uuid="u"), labels("DeviceUnknownLong", node="n", uuid="u")),
    (labels("IncidentFailed", node="n", uuid="u", incident_rule="a"),
     labels("IncidentDegraded", node="n", uuid="u", incident_rule="b")),
    (labels("IncidentFailed", node="n", incident_rule="a"), labels("IncidentDegraded", node="n", incident_rule="b")),
    (labels("ReaderFailing", node="n", reader="nvidia"), labels("DeviceUnknownLong", node="n", uuid="u")),
    (labels("StoreFailing"), labels("AcknowledgementLate")),
    (labels("AcknowledgementLate"), labels("NodeUnacknowledged", node="n")),
    (labels("ViewIncomplete"), labels("CapacityFell", model="m")),
])
def test_the_greater_alert_keeps_the_lesser_from_being_told(greater: dict[str, str], lesser: dict[str, str]) -> None:
    assert inhibits(greater, lesser)
    assert not inhibits(lesser, greater)


@pytest.mark.parametrize(("one", "other"), [
    (labels("NodeLost", node="n"), labels("DeviceHot", node="m", uuid="u")),
    (labels("NodeLost", node="n"), labels("NodeLost", node="n")),
    (labels("NodeLost", node="n"), labels("IncidentFailed", node="n", uuid="u", incident_rule="a")),
    (labels("NodeLost", node="n"), labels("CapacityFell", model="m")),
    (labels("DeviceLost", node="n", uuid="u"), labels("DeviceHot", node="n", uuid="v")),
    (labels("DeviceLost", node="n", uuid="u"), labels("TelemetryStale", node="n")),
    (labels("DeviceLost", node="n", uuid="u"), labels("IncidentFailed", node="n", uuid="u", incident_rule="a")),
    (labels("IncidentFailed", node="n", incident_rule="a"), labels("DeviceUnknownLong", node="n", uuid="u")),
])
def test_what_has_nothing_to_do_with_it_is_told(one: dict[str, str], other: dict[str, str]) -> None:
    assert not inhibits(one, other)


def inhibits(source: dict[str, str], target: dict[str, str]) -> bool:
    """Both sides by the matchers, equal labels equal, an absent one being empty."""
    return any(
        matching(parse_all(each.source), {"": source}) and matching(parse_all(each.target), {"": target})
        and all(source.get(name, "") == target.get(name, "") for name in each.equal)
        for each in BUILTIN.inhibitions
    )
