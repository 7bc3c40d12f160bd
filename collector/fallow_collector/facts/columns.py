"""Columns as numpy has them, made into Arrow's when they are asked for: that takes longer than a copy, and is done
where rules are evaluated."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fallow_collector.alerts.facts import Facts

Column = Callable[[], pa.Array]


def facts(length: int, columns: Mapping[str, Column]) -> Facts:
    return Facts(length, lambda name: columns[name]())


def numbers(values: NDArray[np.number]) -> Column:
    """NaN and infinities are null."""
    return lambda: pa.array(values, pa.float64(), mask=~np.isfinite(values))


def truths(values: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> Column:
    """Where it is not known, null."""
    return lambda: pa.array(values, pa.bool_(), mask=None if known is None else ~known)


def words(codes: NDArray[np.integer], names: Sequence[str]) -> Column:
    """codes: positions in names; below 0: null."""
    return lambda: pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=codes < 0 if codes.dtype.kind == "i" else None),
        pa.array(names, pa.string()),
    )


def texts(values: Sequence[str | None]) -> Column:
    return lambda: pa.array(values, pa.string())


def optional(values: Sequence[Any]) -> NDArray[np.float64]:
    """float64, NaN for None."""
    return np.array(values, dtype=np.float64)
