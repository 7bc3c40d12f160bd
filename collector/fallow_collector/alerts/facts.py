"""What rules are evaluated over: tables of the live state at a moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """One table at a moment, `length` rows. column: makes one column by its name in `schema.TABLES`, as an Arrow array
    of `length` values whose nulls are what is not known; only the columns that some rule names are asked for. A NaN in
    an array would be greater than every number: makers turn it into null (`pa.array(values, from_pandas=True)`).
    """

    length: int
    column: Callable[[str], pa.Array]


Tables = Mapping[str, Facts]
"""By the names of `schema.TABLES`. One that is missing could not be made: rules over it say nothing."""
