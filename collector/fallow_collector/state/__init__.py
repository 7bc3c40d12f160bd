"""The collector's small durable state: what was declared and seen, what was learned, what happened."""

from fallow_collector.state.file import StateError
from fallow_collector.state.rows import (
    OWN_EVENT,
    BaselineRow,
    BootRow,
    ConditionRow,
    CordonRow,
    EventRow,
    OwnedRow,
    SeenRow,
)
from fallow_collector.state.state import State

__all__ = [
    "OWN_EVENT", "BaselineRow", "BootRow", "ConditionRow", "CordonRow", "EventRow", "OwnedRow", "SeenRow", "State",
    "StateError",
]
