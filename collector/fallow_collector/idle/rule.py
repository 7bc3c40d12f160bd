"""One rule that was asked of a device, as it is explained."""

from typing import NamedTuple


class Rule(NamedTuple):
    """holds: None where it cannot be told. since_ms: the agent's time, None where it is not a matter of time."""

    name: str
    holds: bool | None
    value: str
    threshold: str
    since_ms: int | None
    next: str
