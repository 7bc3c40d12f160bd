"""Rows as InfluxDB line protocol, vectorised: Point objects make 30,000 rows a second, this makes ten times as many.

A row is `device,class=…,model=…,node=…,site=…,uuid=…,vendor=… power_watts=71.5,… 1700000000000\n`, precision ms. All
fields are floats (VictoriaMetrics stores a string as 0), what is not known is left out, and a number's text is the
shortest that reads back as the same float32 (gauges) or float64 (counters).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fallow_collector.stores.influx.bodies import Body
from fallow_collector.stores.store import Rows, Series

MEASUREMENT = "device"
BLOCK_ROWS = 8_000
"""Arrow's joins are fastest when a block stays in the processor's cache."""

_ESCAPES = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})
_EXACT_INTEGERS = 2.0**53


class Unspeakable(ValueError):
    """These tags cannot be said in line protocol; the message says which and why."""


def prefix(series: Series) -> str:
    """Measurement and tags, keys sorted, empty tags left out. Raises Unspeakable.

    Line protocol has no way to write a line break, or a backslash at the end of a value: the one is refused, the other
    dropped.
    """
    tags = {
        "class": series.device_class,
        "model": series.model,
        "node": series.node,
        "site": series.site,
        "uuid": series.uuid,
        "vendor": series.vendor,
    }
    text = MEASUREMENT
    for key, value in tags.items():
        if any(character < " " or character == "\x7f" for character in value):
            raise Unspeakable(
                f"device {series.uuid!r}: its {key} {value!r} holds a control character, expected printable text"
            )
        if said := value.rstrip("\\").translate(_ESCAPES):
            text += f",{key}={said}"
    return text


class Prefixes:
    """The prefix of each position of Batch.series, made once."""

    def __init__(self) -> None:
        self._texts: list[str | None] = []
        self.array = pa.array([], pa.string())
        """Null where the series cannot be said."""
        self.problems: dict[int, str] = {}
        """Why, by position."""

    def learn(self, series: Sequence[Series]) -> None:
        """Take up the series that came since the last call."""
        if len(series) == len(self._texts):
            return
        for position in range(len(self._texts), len(series)):
            try:
                self._texts.append(prefix(series[position]))
            except Unspeakable as error:
                self._texts.append(None)
                self.problems[position] = str(error)
        self.array = pa.array(self._texts, pa.string())


@dataclass(frozen=True, slots=True)
class Encoded:
    """A block of lines, and the rows that are not among them because their series cannot be said."""

    body: Body
    unspeakable: NDArray[np.int32]
    """Positions in Batch.series, one a row."""


def encode(rows: Rows, prefixes: pa.Array) -> Iterator[Encoded]:
    """The rows as blocks of lines; rows of which nothing is known are left out."""
    for first in range(0, len(rows.time_ms), BLOCK_ROWS):
        yield _block(rows, slice(first, first + BLOCK_ROWS), prefixes)


def _block(rows: Rows, cut: slice, prefixes: pa.Array) -> Encoded:
    gauges, counters = rows.gauges[cut], rows.counters[cut]
    known = np.isfinite(gauges).any(axis=1) | np.isfinite(counters).any(axis=1)
    names = prefixes.take(pa.array(rows.series[cut]))
    said = known
    if names.null_count:
        speakable = names.is_valid().to_numpy(zero_copy_only=False)
        said = known & speakable
        unspeakable = rows.series[cut][known & ~speakable]
    else:
        unspeakable = np.empty(0, np.int32)
    time_ms = rows.time_ms[cut]
    if not said.all():
        gauges, counters, time_ms = gauges[said], counters[said], time_ms[said]
        names = names.filter(pa.array(said))
    pieces = [names]
    begun = np.zeros(len(time_ms), dtype=bool)
    columns = (
        *zip(rows.gauge_names, np.ascontiguousarray(gauges.T), strict=True),
        *zip(rows.counter_names, np.ascontiguousarray(counters.T), strict=True),
    )
    for name, values in columns:
        finite = np.isfinite(values)
        pieces += [_labels(name, finite, begun), _texts(values, finite)]
        begun |= finite
    pieces += [" ", pc.cast(pa.array(time_ms), pa.string()), "\n"]
    joined = pc.binary_join_element_wise(*pieces, "", null_handling="replace", null_replacement="")
    return Encoded(_body(joined), unspeakable)


def _labels(name: str, finite: NDArray[np.bool_], begun: NDArray[np.bool_]) -> str | pa.Array:
    """What stands before a column's numbers: a comma after the row's first field, a space before it, null for none."""
    later, first = f",{name}=", f" {name}="
    if finite.all():
        if begun.all():
            return later
        if not begun.any():
            return first
    label = pc.if_else(pa.array(begun), later, first)
    return pc.if_else(pa.array(finite), label, None)


def _texts(values: NDArray[np.floating], finite: NDArray[np.bool_]) -> pa.Array:
    """The numbers as text, null for none.

    A column of whole numbers (bytes, hertz, counts) is spelled as such: 85899345920, where the shortest text that
    reads back as that float32 is 8.589935e+10, which every reader takes for another number of bytes.
    """
    if finite.all():
        missing = None
    else:
        missing = ~finite
        values = np.where(finite, values, 0)
    if (np.rint(values) == values).all() and (np.abs(values) <= _EXACT_INTEGERS).all():
        values = values.astype(np.int64)
    return pc.cast(pa.array(values, mask=missing), pa.string())


def _body(joined: pa.Array) -> Body:
    """The joined lines are already one text in Arrow's memory, with the ends of the lines beside."""
    if len(joined) == 0:
        return Body(b"", np.empty(0, np.int64))
    _, offsets, data = joined.buffers()
    ends = np.frombuffer(offsets, np.int32, count=len(joined) + 1, offset=4 * joined.offset)
    return Body(data[int(ends[0]) : int(ends[-1])].to_pybytes(), (ends[1:] - ends[0]).astype(np.int64))
