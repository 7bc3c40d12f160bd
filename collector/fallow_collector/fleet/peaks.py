"""Peak FLOPS of devices, by the chip catalogue."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.roster import GroupKey
from fallow_proto.catalogue import peak_flops, variants


def peaks(
    groups: Sequence[GroupKey], group: NDArray[np.int32], power_limit_watts: NDArray[np.float64], precision: str
) -> NDArray[np.float64]:
    """float64[n], dense peak of n devices in FLOP/s (int8: OP/s); NaN: not known.

    group: int32[n], positions in groups; power_limit_watts: float64[n], which tells boards of one name apart. Of a
    partition no peak is known: the catalogue's is that of the whole.
    """
    of_groups = np.array([_of_group(key, precision) for key in groups], dtype=np.float64)
    found: NDArray[np.float64] = of_groups[group]
    for number, key in enumerate(groups):
        boards = () if key.partition_profile else variants(key.vendor, key.model)
        for chip in boards if len(boards) > 1 else ():
            found[(group == number) & (power_limit_watts == chip.tdp_watts)] = chip.peak_flops(precision)
    return found


def _of_group(key: GroupKey, precision: str) -> float:
    return np.nan if key.partition_profile else peak_flops(key.vendor, key.model, precision)
