"""Whether a view is complete, and what it lacks."""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_proto.states import Freshness


def incomplete(fleet: Fleet, freshness: NDArray[np.uint8]) -> dict[str, int]:
    """What the view lacks: devices that are silent or gone, and readers that may hide devices."""
    tally = np.bincount(freshness, minlength=len(phase.FRESHNESSES))
    missing = {str(word): int(tally[i]) for i, word in enumerate(phase.FRESHNESSES) if word is not Freshness.LIVE}
    missing["reader_unusable"] = fleet.unusable_readers
    return {reason: number for reason, number in missing.items() if number}
