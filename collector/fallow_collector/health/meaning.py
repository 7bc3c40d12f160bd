"""What one code says: how bad it is, what to do about it, and what it is among others."""

from typing import NamedTuple

from fallow_collector.health.words import Action, Role, Severity


class Again(NamedTuple):
    """The action when the same is met in `times` bursts within Folding.repeat_s."""

    times: int
    action: Action


class Meaning(NamedTuple):
    """cancels: the code of the same kind that is over when this one comes."""

    what: str
    severity: Severity
    action: Action
    role: Role
    again: Again | None = None
    cancels: int | None = None
