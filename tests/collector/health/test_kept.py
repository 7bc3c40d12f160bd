"""What of the conditions goes to the state file: all of it, a bounded part at a time."""

from pathlib import Path

import numpy as np

from fallow_collector.health.kept import ROWS_AT_ONCE, Kept, Place
from fallow_collector.state import ConditionRow, State
from tests.collector.health.clinic import FULL, Clinic

ALIVE = np.ones(5000, dtype=np.bool_)


def standing(count: int, since_ms: int = 7) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return {"hot": np.full(count, since_ms, dtype=np.int64), "cold": np.zeros(count, dtype=np.int64)}


def test_changes_come_in_parts_until_there_are_none() -> None:
    kept = Kept()
    parts = []
    while part := kept.changes(standing(5000), ALIVE):
        parts.append(part)
    assert [len(part) for part in parts] == [ROWS_AT_ONCE, ROWS_AT_ONCE, 1000]
    assert {place.row for part in parts for place in part} == set(range(5000))
    assert kept.changes(standing(5000), ALIVE) == []


def test_what_could_not_be_kept_comes_again_also_when_it_is_over_by_then() -> None:
    kept = Kept()
    part = kept.changes(standing(2), ALIVE)
    kept.put_back(part)
    assert kept.changes(standing(2), ALIVE) == part
    kept.put_back(part)
    assert kept.changes(standing(2, since_ms=0), ALIVE) == [Place("hot", 0, 0), Place("hot", 1, 0)]


def test_what_stands_of_a_device_that_was_retired_is_over() -> None:
    kept = Kept([Place("hot", 1, 7)])
    dead = ALIVE.copy()
    dead[1] = False
    assert kept.changes(standing(2), dead) == [Place("hot", 0, 7), Place("hot", 1, 0)]


def test_a_condition_of_a_rule_or_device_that_is_not_there_any_more_leaves_the_state(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.save_health([], [ConditionRow("old_rule", "g0", 1), ConditionRow("remap_pending", "gone", 1)], [])
    state.close()
    clinic = Clinic(tmp_path)
    clinic.stays(2, {**FULL, "recovery_action": 1.0}, FULL)
    clinic.restart()
    assert [(row.rule, row.device) for row in clinic.state.load_conditions()] == [("device_reset_required", "g0")]
    clinic.state.close()
