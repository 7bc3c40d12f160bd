"""The smallest step of a run."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fallow_sim.node import Node


class Beat(NamedTuple):
    """after_s: since the start; make: computes the new reports; nodes: which of them then have one more."""

    after_s: float
    make: Callable[[], None]
    nodes: Sequence[Node]
