"""Every rule that was asked of one device, with what was found, what is expected, and what would have to happen."""

from math import isnan
from typing import NamedTuple, Protocol

import numpy as np

from fallow_collector.idle.reasons import BIT, REASONS
from fallow_collector.idle.rule import Rule
from fallow_collector.idle.settings import Thresholds
from fallow_collector.idle.standing import Standing, owner, service, strangers
from fallow_collector.idle.state import BIT as BIT_OF_WITNESS
from fallow_collector.idle.state import NEVER, BaseSource, FloorSource
from fallow_proto.states import Freshness, Health

_OPTIONAL = ("compute_active_ratio", "power_watts")
"""Witnesses that are required only once they were read."""

_NEXT = {reason.name: reason.next for reason in REASONS}


class Facts(NamedTuple):
    """One device: its state (state.STATE), newest values (NaN: not known), and what was assessed of it."""

    state: np.void
    values: dict[str, float]
    reasons: int  # bits
    freshness: Freshness
    age_s: float
    interval_s: float
    last_ms: int
    host: bool
    unsupported: frozenset[str]
    overridden: frozenset[str]  # thresholds that are set for its model alone
    idle_power_max_watts: float  # of the catalogue, NaN where it does not say
    base_memory_max_bytes: float
    health: Health
    standing: Standing = Standing()  # nobody holds it, and nobody has taken it out of service


def _key(facts: Facts, name: str) -> str:
    """Where a threshold stands in the configuration."""
    return f"[[idle.models]] {name}" if name in facts.overridden else f"[idle] {name}"


def explain(settings: Thresholds, facts: Facts) -> list[Rule]:
    """The rules in the order in which they are asked; a device is idle when all of them hold."""
    rules = [
        _fresh(settings, facts), owner(facts.standing, facts.reasons), *strangers(facts.standing, facts.reasons),
        _healthy(facts), _known(facts), service(facts.standing, facts.reasons),
    ]
    rules += _host_rules(settings, facts) if facts.host else _device_rules(settings, facts)
    return [*rules, _window(settings, facts)]


def _has(facts: Facts, *names: str) -> list[str]:
    return [name for name in names if facts.reasons & int(BIT[name])]


def _next(found: list[str]) -> str:
    return "; ".join(dict.fromkeys(_NEXT[name] for name in found))


def _fresh(settings: Thresholds, facts: Facts) -> Rule:
    limit = max(settings.stale_s, 3 * facts.interval_s)
    age = "no reading yet" if facts.age_s == np.inf else f"{facts.age_s:.1f} s old"
    found = _has(facts, "absent", "lost", "stale")
    return Rule(
        "live", facts.freshness == Freshness.LIVE, f"{facts.freshness}, newest reading {age}",
        f"at most {limit:g} s ({_key(facts, 'stale_s')}, at least 3 intervals)", None, _next(found),
    )


def _healthy(facts: Facts) -> Rule:
    health = facts.health
    found = _has(facts, "device_lost", "reset_required", "recovery_required", "incident_failed", "quiesced",
                 "reader_stuck", "driver_unusable", "read_timeout", "not_permitted", "read_failed",
                 "compute_prohibited", "mode_change_pending", "unread", "passthrough")
    what = ", ".join([str(health), *found])
    holds = None if health == "unknown" and not found else not found
    return Rule("healthy and usable", holds, what, "ok or degraded, nothing pending", None, _next(found))


def _known(facts: Facts) -> Rule:
    found = _has(facts, "witness_missing", "frozen", "conflict", "undecided", "baseline_unaccepted")
    if facts.freshness != Freshness.LIVE:
        return Rule("evidence", None, "no fresh reading", "every required witness, none contradicting", None, "")
    return Rule(
        "evidence", not found, ", ".join(found) or "complete", "every required witness, none contradicting", None,
        _next(found),
    )


def _device_rules(settings: Thresholds, facts: Facts) -> list[Rule]:
    state, values = facts.state, facts.values
    limit, floor = _floor(settings, facts)
    base = float(state["base_bytes"])
    counted = values["processes"] - (0 if isnan(values["processes_exempt"]) else values["processes_exempt"])
    return [
        _below("utilization", values["utilization_ratio"], settings.utilization_off_ratio, _percent, facts,
               "utilization_ratio", _key(facts, "utilization_off_ratio")),
        _below("compute units", values["compute_active_ratio"], settings.compute_off_ratio, _percent, facts,
               "compute_active_ratio", _key(facts, "compute_off_ratio")),
        _below("power", values["power_watts"], limit, _watts, facts, "power_watts", floor),
        _below("memory", values["memory_usage_bytes"], base + settings.memory_tolerance_bytes, _bytes, facts,
               "memory_usage_bytes", _base(settings, facts)),
        _below("processes", counted, 0, lambda n: f"{n:.0f}", facts, "processes"),
    ]


def _floor(settings: Thresholds, facts: Facts) -> tuple[float, str]:
    """(most power that is quiet, where that is from)."""
    source = FloorSource(facts.state["floor_source"])
    if source in (FloorSource.LEARNED, FloorSource.ACCEPTED):
        floor = float(facts.state["floor_watts"])
        return (
            settings.power_quiet_factor * floor,
            f"floor {_watts(floor)}, {source.name.lower()}; {_key(facts, 'power_quiet_factor')}",
        )
    most, origin = facts.idle_power_max_watts, "the catalogue"
    if isnan(most):
        most = settings.idle_power_max_ratio * facts.values["power_limit_watts"]
        origin = _key(facts, "idle_power_max_ratio")
    refused = "; the learned floor lies above" if source is FloorSource.REFUSED else ""
    return most, f"the model's idle range, {origin}{refused}"


def _base(settings: Thresholds, facts: Facts) -> str:
    """What the device holds when nothing runs, or what is taken for that."""
    base = float(facts.state["base_bytes"])
    if not isnan(base):
        return f"base {_bytes(base)}, {BaseSource(facts.state['base_source']).name.lower()}"
    most, origin = facts.base_memory_max_bytes, "the catalogue"
    if isnan(most):
        most = settings.base_memory_max_ratio * facts.values["memory_limit_bytes"]
        origin = _key(facts, "base_memory_max_ratio")
    return f"no base yet: at most {_bytes(most)} is taken for one, {origin}"


def _host_rules(settings: Thresholds, facts: Facts) -> list[Rule]:
    values = facts.values
    cores = values["cpu_cores"]
    by_share = settings.host_busy_ratio * (0 if isnan(cores) else cores)
    most, key = max((settings.host_busy_cores, "host_busy_cores"), (by_share, "host_busy_ratio"))
    base = float(facts.state["base_bytes"])
    return [
        _below("busy CPUs", values["cpu_busy_cores"], most, lambda n: f"{n:.2f}", facts, "cpu_busy_cores",
               _key(facts, key)),
        _below("tasks waiting for a CPU", values["cpu_pressure_ratio"], settings.host_pressure_ratio, _percent, facts,
               "cpu_pressure_ratio", _key(facts, "host_pressure_ratio")),
        _below("memory", values["memory_usage_bytes"], base + settings.host_memory_ratio * values["memory_limit_bytes"],
               _bytes, facts, "memory_usage_bytes", f"base {_bytes(base)}; {_key(facts, 'host_memory_ratio')}"),
        _below("processes of jobs", values["job_processes"], 0, lambda n: f"{n:.0f}", facts, "job_processes"),
    ]


def _below(
    name: str, value: float, limit: float, show: "Show", facts: Facts, metric: str, note: str = ""
) -> Rule:
    threshold = f"at most {show(limit)}" if not isnan(limit) else "not known yet"
    threshold += f" ({note})" if note else ""
    if metric in facts.unsupported:
        return Rule(name, True, "not offered by the vendor", threshold, None, "")
    if metric in _OPTIONAL and not int(facts.state["ever_read"]) & int(BIT_OF_WITNESS[metric]):
        return Rule(name, True, "never read, so not asked", threshold, None, "")
    if isnan(value):
        return Rule(name, None, "not known", threshold, None, "it is read")
    if isnan(limit):
        return Rule(name, None, show(value), threshold, None, "what is normal for the device is learned")
    return Rule(name, value <= limit, show(value), threshold, None, "" if value <= limit else "it falls below")


def _window(settings: Thresholds, facts: Facts) -> Rule:
    state = facts.state
    since = int(state["run_start_ms"])
    short = bool(state["short"])
    window_s = settings.confirm_after_release_s if short else settings.confirm_s
    threshold = (
        f"{window_s:g} s and {settings.confirm_readings} readings "
        f"({_key(facts, 'confirm_after_release_s' if short else 'confirm_s')})"
    )
    if facts.freshness != Freshness.LIVE:
        return Rule("window", None, "no fresh reading", threshold, None, "")
    if since == NEVER:
        busy = int(state["busy_since_ms"])
        return Rule(
            "window", False, "not quiet and clean", threshold, None if busy == NEVER else busy,
            "it becomes quiet and clean, and stays so",
        )
    span = (facts.last_ms - since) / 1000
    readings = int(state["run_readings"])
    holds = span >= window_s and readings >= settings.confirm_readings
    left = max(window_s - span, (settings.confirm_readings - readings) * facts.interval_s)
    return Rule("window", holds, f"quiet and clean for {span:.0f} s, {readings} readings without a gap",
                threshold, since, "" if holds else f"it stays so for {left:.0f} s more")


class Show(Protocol):
    def __call__(self, number: float, /) -> str: ...


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g} %"


def _watts(watts: float) -> str:
    return "not known" if isnan(watts) else f"{watts:.4g} W"


def _bytes(count: float) -> str:
    return "not known" if isnan(count) else f"{count / 2**20:,.0f} MiB"
