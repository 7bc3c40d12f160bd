"""The collector's small durable state: what was declared and seen, what was learned, what happened."""

from fallow_collector.state.file import StateError
from fallow_collector.state.rows import BaselineRow, EventRow, SeenRow
from fallow_collector.state.state import State

__all__ = ["BaselineRow", "EventRow", "SeenRow", "State", "StateError"]
