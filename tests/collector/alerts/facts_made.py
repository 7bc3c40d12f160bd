"""Tables of facts out of Python values, None being what is not known."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fallow_collector.alerts.facts import Facts
from fallow_collector.alerts.schema import TABLES, Type

Value = float | str | bool | None
TYPES = {Type.NUMBER: pa.float64(), Type.TEXT: pa.string(), Type.TRUTH: pa.bool_()}


def facts(over: str, *rows: Mapping[str, Value]) -> Facts:
    """What a row does not name is not known; its labels are then "x"."""
    table = TABLES[over]

    def column(name: str) -> pa.Array:
        other = "x" if name in table.labels else None
        return pa.array([row.get(name, other) for row in rows], TYPES[table.columns[name].type])

    return Facts(len(rows), column)


def numbers(over: str, **columns: Sequence[float]) -> Facts:
    """As the arrays of a fleet hold them, NaN and infinities included."""
    length = len(next(iter(columns.values())))

    def column(name: str) -> pa.Array:
        if name in columns:
            return pa.array(columns[name], pa.float64())
        return pa.array([f"{name}-{row}" for row in range(length)], pa.string())

    return Facts(length, column)
