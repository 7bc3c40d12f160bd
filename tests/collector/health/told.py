"""Events as agents tell them, for tests of health."""

from fallow_collector.health.fold import Subject, fold
from fallow_collector.health.happening import happening
from fallow_collector.health.history import Cure, History
from fallow_collector.health.incident import Incident
from fallow_collector.health.rules import Folding
from fallow_collector.state import EventRow
from fallow_proto.states import EventKind

T0 = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


def event(
    code: int | None, at_ms: int, message: str = "", kind: str = EventKind.XID, device: str = "g0", many: int = 1,
    epoch: str = "e1", node: str = "n1", source: str = "kernel", number: int = 0,
) -> EventRow:
    """at_ms: after T0."""
    at = T0 + at_ms
    return EventRow(
        node, epoch, f"{kind}-{code}-{at_ms}-{number}", at_ms, str(kind), device, many, at, at, message, code, source
    )


def folded(
    *rows: EventRow, cures: tuple[Cure, ...] = (), now_ms: int = 0, rules: Folding | None = None,
    model: str = "NVIDIA H100 80GB HBM3",
) -> list[Incident]:
    """now_ms: after T0; 0: when the last of them happened."""
    rules = rules or Folding()
    history = History(rules.burst_ms)
    for row in rows:
        found = happening(row, model)
        if found is not None:
            history.add(found)
    now = T0 + now_ms if now_ms else max(row.last_ms for row in rows)
    return fold(Subject("n1", "g0", model), history, cures, rules, now)
