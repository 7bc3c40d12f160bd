"""Peak FLOPS of devices, by the chip catalogue."""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.roster import GroupKey, Roster
from fallow_proto.catalogue import peak_flops, variants
from fallow_proto.metrics import COLUMN

_LIMIT = COLUMN["power_limit_watts"]


def peaks(fleet: Roster, rows: NDArray[np.intp], precision: str) -> NDArray[np.float64]:
    """float64[rows], each device's dense peak in FLOP/s (int8: OP/s); NaN: not known.

    Boards of one name are told apart by their power limit, as it was last read. Of a partition no peak is known: the
    catalogue's is that of the whole.
    """
    group = fleet.group[rows]
    found: NDArray[np.float64] = np.array([_of_group(key, precision) for key in fleet.groups], dtype=np.float64)[group]
    for number, key in enumerate(fleet.groups):
        boards = () if key.partition_profile else variants(key.vendor, key.model)
        if len(boards) > 1:
            mine = np.flatnonzero(group == number)
            limits = fleet.values[rows[mine], _LIMIT]
            for chip in boards:
                found[mine[limits == chip.tdp_watts]] = chip.peak_flops(precision)
    return found


def _of_group(key: GroupKey, precision: str) -> float:
    return np.nan if key.partition_profile else peak_flops(key.vendor, key.model, precision)
