"""Every rule that was asked of one device, with what was found, what is expected, and what would have to happen."""

from math import isnan
from typing import NamedTuple, Protocol

import numpy as np

from fallow_collector.idle import phase
from fallow_collector.idle.reasons import BIT, REASONS
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import BIT as BIT_OF_WITNESS
from fallow_collector.idle.state import NEVER, BaseSource, FloorSource
from fallow_proto.states import Freshness

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


class Rule(NamedTuple):
    """holds: None where it cannot be told. since_ms: the agent's time, None where it is not a matter of time."""

    name: str
    holds: bool | None
    value: str
    threshold: str
    since_ms: int | None
    next: str


def explain(settings: IdleSettings, facts: Facts) -> list[Rule]:
    """The rules in the order in which they are asked; a device is idle when all of them hold."""
    rules = [_fresh(settings, facts), _healthy(facts), _known(facts)]
    rules += _host_rules(settings, facts) if facts.host else _device_rules(settings, facts)
    return [*rules, _window(settings, facts)]


def _has(facts: Facts, *names: str) -> list[str]:
    return [name for name in names if facts.reasons & int(BIT[name])]


def _next(found: list[str]) -> str:
    return "; ".join(dict.fromkeys(_NEXT[name] for name in found))


def _fresh(settings: IdleSettings, facts: Facts) -> Rule:
    limit = max(settings.stale_s, 3 * facts.interval_s)
    age = "no reading yet" if facts.age_s == np.inf else f"{facts.age_s:.1f} s old"
    found = _has(facts, "absent", "lost", "stale")
    return Rule(
        "live", facts.freshness == Freshness.LIVE, f"{facts.freshness}, newest reading {age}", f"at most {limit:g} s",
        None, _next(found),
    )


def _healthy(facts: Facts) -> Rule:
    health = phase.HEALTHS[facts.state["health"]] if facts.freshness == Freshness.LIVE else "unknown"
    found = _has(facts, "device_lost", "reset_required", "recovery_required", "reader_stuck", "driver_unusable",
                 "read_timeout", "not_permitted", "read_failed", "compute_prohibited", "mode_change_pending")
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


def _device_rules(settings: IdleSettings, facts: Facts) -> list[Rule]:
    state, values = facts.state, facts.values
    floor, limit, source = _floor(settings, facts)
    base = float(state["base_bytes"])
    counted = values["processes"] - (0 if isnan(values["processes_exempt"]) else values["processes_exempt"])
    return [
        _below("utilization", values["utilization_ratio"], settings.utilization_off_ratio, _percent, facts,
               "utilization_ratio"),
        _below("compute units", values["compute_active_ratio"], settings.compute_off_ratio, _percent, facts,
               "compute_active_ratio"),
        _below("power", values["power_watts"], limit, _watts, facts, "power_watts",
               note=f"floor {_watts(floor)}, {source}"),
        _below("memory", values["memory_usage_bytes"], base + settings.memory_tolerance_bytes, _bytes, facts,
               "memory_usage_bytes", note=f"base {_bytes(base)}, {BaseSource(state['base_source']).name.lower()}"),
        _below("processes", counted, 0, lambda n: f"{n:.0f}", facts, "processes"),
    ]


def _floor(settings: IdleSettings, facts: Facts) -> tuple[float, float, str]:
    """(floor, most power that is quiet, where the floor is from)."""
    source = FloorSource(facts.state["floor_source"])
    if source in (FloorSource.LEARNED, FloorSource.ACCEPTED):
        floor = float(facts.state["floor_watts"])
        return floor, settings.power_quiet_factor * floor, source.name.lower()
    prior = settings.idle_power_max_ratio * facts.values["power_limit_watts"]
    return prior, prior, "prior" if source is not FloorSource.REFUSED else "prior; the learned one was refused"


def _host_rules(settings: IdleSettings, facts: Facts) -> list[Rule]:
    values = facts.values
    cores = values["cpu_cores"]
    most = max(settings.host_busy_cores, settings.host_busy_ratio * (0 if isnan(cores) else cores))
    base = float(facts.state["base_bytes"])
    return [
        _below("busy CPUs", values["cpu_busy_cores"], most, lambda n: f"{n:.2f}", facts, "cpu_busy_cores"),
        _below("tasks waiting for a CPU", values["cpu_pressure_ratio"], settings.host_pressure_ratio, _percent, facts,
               "cpu_pressure_ratio"),
        _below("memory", values["memory_usage_bytes"], base + settings.host_memory_ratio * values["memory_limit_bytes"],
               _bytes, facts, "memory_usage_bytes", note=f"base {_bytes(base)}"),
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


def _window(settings: IdleSettings, facts: Facts) -> Rule:
    state = facts.state
    since = int(state["run_start_ms"])
    if facts.freshness != Freshness.LIVE:
        return Rule("window", None, "no fresh reading", _window_threshold(settings), None, "")
    if since == NEVER:
        busy = int(state["busy_since_ms"])
        return Rule(
            "window", False, "not quiet and clean", _window_threshold(settings), None if busy == NEVER else busy,
            "it becomes quiet and clean, and stays so",
        )
    span = (facts.last_ms - since) / 1000
    readings = int(state["run_readings"])
    holds = span >= settings.confirm_s and readings >= settings.confirm_readings
    left = max(settings.confirm_s - span, (settings.confirm_readings - readings) * facts.interval_s)
    return Rule("window", holds, f"quiet and clean for {span:.0f} s, {readings} readings without a gap",
                _window_threshold(settings), since, "" if holds else f"it stays so for {left:.0f} s more")


def _window_threshold(settings: IdleSettings) -> str:
    return f"{settings.confirm_s:g} s and {settings.confirm_readings} readings"


class Show(Protocol):
    def __call__(self, number: float, /) -> str: ...


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g} %"


def _watts(watts: float) -> str:
    return "not known" if isnan(watts) else f"{watts:.4g} W"


def _bytes(count: float) -> str:
    return "not known" if isnan(count) else f"{count / 2**20:,.0f} MiB"
