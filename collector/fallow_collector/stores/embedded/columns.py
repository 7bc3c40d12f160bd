"""The metric table as columns: of hot slices, of Parquet files, of roll-ups."""

import pyarrow as pa

from fallow_proto.metrics import METRICS, NAMES, Kind

GAUGES = tuple(metric.name for metric in METRICS if metric.kind is Kind.GAUGE)
COUNTERS = tuple(metric.name for metric in METRICS if metric.kind is Kind.COUNTER)

TAGS = ("site", "node", "uuid", "vendor", "model", "class")
"""As in line protocol (measurement `device`), in the order of stores.store.Series."""

NOISY = frozenset({
    "compute_active_ratio", "power_watts", "energy_joules_total", "throttle_power_seconds_total",
    "io_receive_bytes_total", "io_transmit_bytes_total", "link_receive_bytes_total", "link_transmit_bytes_total",
    "cpu_busy_cores", "cpu_pressure_ratio", "memory_available_bytes",
})
"""Columns whose every value is another: BYTE_STREAM_SPLIT takes half of what a dictionary takes for them, and three
times as much for the others (2 M rows of a fleet that is half busy)."""

_TAG = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("ms", tz="UTC")
_HEAD = [("series", pa.int32()), *((tag, _TAG) for tag in TAGS), ("time", _TIME)]

RAW = pa.schema([*_HEAD, *((name, pa.float64() if name in COUNTERS else pa.float32()) for name in NAMES)])
"""A file of rows as they came. `series` numbers the set of tags, and files are sorted by it and by time."""

FOLDS = ("sum", "min", "max", "n")
"""What a roll-up keeps of a gauge: enough to merge two roll-ups of one minute. Of a counter it keeps the last value."""

MINUTE = pa.schema([
    *_HEAD,
    ("last_time", _TIME),
    *(
        (f"{name}_{fold}", pa.int32() if fold == "n" else pa.float32())
        for name in GAUGES for fold in FOLDS
    ),
    *((name, pa.float64()) for name in COUNTERS),
])
"""A file of roll-ups: `time` is the start of the minute, `last_time` the time of its last row."""

_SPLIT = {
    *NOISY,
    *(f"{name}_sum" for name in GAUGES),
    *(f"{name}_{fold}" for name in NOISY for fold in ("min", "max")),
}
_DELTA = {"series", "time", "last_time"}


def encodings(schema: pa.Schema) -> dict[str, str]:
    """Column → Parquet encoding, for those that are not better off with a dictionary."""
    return {
        name: "BYTE_STREAM_SPLIT" if name in _SPLIT else "DELTA_BINARY_PACKED"
        for name in schema.names if name in _SPLIT or name in _DELTA
    }


def sql_type(name: str) -> str:
    """The type of a metric's column in a hot slice."""
    return "DOUBLE" if name in COUNTERS else "FLOAT"
