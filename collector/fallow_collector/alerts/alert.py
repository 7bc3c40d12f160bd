"""An alert: one rule holds for one row."""

from enum import StrEnum

import msgspec


class State(StrEnum):
    PENDING = "pending"  # holds, not yet for `for_s`
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """labels: the row's, `alertname`, `severity`, and the rule's own; they identify it (`fingerprint`: Alertmanager's).

    Instants are unix seconds, for people and receivers; since_s is when it came into its state on the clock that no
    step of the wall clock moves, and quiet_s since when the predicate has not held, None: it holds or is not known.
    """

    fingerprint: str
    rule: str
    state: State
    labels: dict[str, str]
    annotations: dict[str, str]
    active_at: float
    fired_at: float | None = None
    resolved_at: float | None = None
    since_s: float = 0.0
    quiet_s: float | None = None
    known: bool = True  # False: its columns are unknown now, and it stays as it was


OFFSET, PRIME = 14695981039346656037, 1099511628211


def fingerprint(labels: dict[str, str]) -> str:
    """FNV-1a of 64 bits over names and values, sorted by name, each ended by 0xFF (Alertmanager's
    model.LabelSet.Fingerprint), so that both name an alert alike."""
    value = OFFSET
    for name in sorted(labels):
        for byte in b"%s\xff%s\xff" % (name.encode(), labels[name].encode()):
            value = ((value ^ byte) * PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"
