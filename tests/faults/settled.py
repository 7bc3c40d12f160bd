"""The end of a scene whose agent was cut off, misled and delayed, but never killed: all that it read is owed."""

from tests.faults.audit import Verdict, in_store
from tests.faults.programs import Scene

SUPERSEDED = 0.2
"""Of the readings: a report that is late takes the newest of two, which happens on a busy machine at ten a second."""


def settled(scene: Scene) -> Verdict:
    """What the audit found after all was well again; fails if anything is missing, there twice, or was never read."""
    before = set(scene.node.made())
    scene.node.wait_for_readings(2)  # what is being read while the agent ends may be in no report
    scene.settle()
    [found] = scene.verdicts()
    assert not found.lost
    assert not found.doubled
    assert not found.invented
    first = min(in_store(scene.store, scene.node.board))  # what was read before is looked at, and in no report
    missing = {value for value in found.never_owed & before if value > first}
    assert len(missing) <= SUPERSEDED * len(before) + 2
    return found
