"""What is wrong with a device or a node: severity, since when, on what evidence, and one thing to do about it."""

from hashlib import blake2s
from typing import NamedTuple

from fallow_collector.health.words import Action, Mode, Severity


class Evidence(NamedTuple):
    """events: node/epoch/id of what was told, empty for a value. threshold: empty where there is none."""

    what: str
    found: str
    threshold: str = ""
    events: tuple[str, ...] = ()


class Incident(NamedTuple):
    """Times are unix milliseconds. device: uuid, empty: the node as a whole."""

    incident_id: str
    rule: str
    node: str
    device: str
    severity: Severity
    action: Action
    mode: Mode
    since_ms: int
    last_ms: int
    times: int
    summary: str
    evidence: tuple[Evidence, ...]
    cleared_ms: int | None = None
    cleared_by: str = ""

    @property
    def open(self) -> bool:
        return self.cleared_ms is None


def incident_id(*parts: str) -> str:
    """The same for the same beginning, so that a restart changes no id."""
    return blake2s("\0".join(parts).encode(), digest_size=8).hexdigest()
