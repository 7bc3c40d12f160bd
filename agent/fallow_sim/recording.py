"""A recording of one node's telemetry: a table of time, device and values, made into reports.

Exporters read power, temperatures and utilization at different moments, so a row often holds one of them only. A
report says the peak of what was read since the report before; a value that is missing there is taken from up to 1.5
intervals back, else it is not known. A gap in the table stays a gap.
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from fallow_proto.metrics import BY_NAME, Fold

TIME, DEVICE = "unix_s", "device"
HELD_INTERVALS = 1.5


class RecordingError(Exception):
    """The file cannot be replayed; the message says where and what was expected."""


class Column(NamedTuple):
    """What a column means: base units = factor × what stands there."""

    metric: str
    factor: float = 1.0


# Left out: the edge temperature, for MI300X has no such sensor, and the activity counter, whose unit nobody names.
COLUMNS: Mapping[str, Column] = {
    "power_w": Column("power_watts"),
    "temp_temp_junction_celsius": Column("temperature_celsius"),
    "gpu_util_pct": Column("utilization_ratio", 0.01),
    "vram_total_b": Column("memory_limit_bytes"),
    "vram_used_b": Column("memory_usage_bytes"),
}
METRICS = tuple(column.metric for column in COLUMNS.values())


class Moment(NamedTuple):
    """What each device said: metrics in base units by device, absent where not known. time: unix seconds."""

    time: float
    readings: Mapping[str, Mapping[str, float]]


def read(path: Path) -> Iterator[Moment]:
    """The table as it stands, a moment for every time in it, oldest first. Raises RecordingError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(
            encoding="utf-8", newline=""
        ) as file:
            table = csv.DictReader(file)
            if missing := {TIME, DEVICE} - set(table.fieldnames or ()):
                raise RecordingError(f"{path}: has no column {' or '.join(sorted(missing))}")
            if not COLUMNS.keys() & set(table.fieldnames or ()):
                raise RecordingError(f"{path}: has none of the columns {', '.join(COLUMNS)}")
            latest = float("-inf")
            for text, rows in groupby(table, key=itemgetter(TIME)):
                time = _number(text, path, table.line_num)
                if time <= latest:
                    raise RecordingError(f"{path}, line {table.line_num}: time {text} does not rise")
                latest = time
                yield Moment(time, {row[DEVICE]: _values(row, path, table.line_num) for row in rows})
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from error


def reports(moments: Iterator[Moment], interval_s: float) -> Iterator[Moment]:
    """One moment every interval, of all that was read since the one before; none where nothing was."""
    held: dict[tuple[str, str], tuple[float, float]] = {}  # (device, metric) -> (time, value)
    start, window = None, -1
    pending: list[Moment] = []
    for moment in moments:
        start = moment.time if start is None else start
        if pending and int((moment.time - start) / interval_s) != window:
            yield _fold(pending, held, interval_s)
            pending = []
        window = int((moment.time - start) / interval_s)
        pending.append(moment)
    if pending:
        yield _fold(pending, held, interval_s)


def _fold(
    moments: list[Moment], held: dict[tuple[str, str], tuple[float, float]], interval_s: float
) -> Moment:
    now = moments[-1].time
    folded: dict[tuple[str, str], float] = {}
    for moment in moments:
        for device, values in moment.readings.items():
            for metric, value in values.items():
                key = device, metric
                peak = BY_NAME[metric].fold is Fold.MAX and key in folded
                folded[key] = max(folded[key], value) if peak else value
                held[key] = moment.time, value
    for key, (time, value) in held.items():
        if key not in folded and now - time <= HELD_INTERVALS * interval_s:
            folded[key] = value
    readings: dict[str, dict[str, float]] = {}
    for device, metric in sorted(folded):
        readings.setdefault(device, {})[metric] = folded[device, metric]
    return Moment(now, readings)


def _values(row: Mapping[str, str], path: Path, line: int) -> dict[str, float]:
    return {
        column.metric: column.factor * _number(row[name], path, line)
        for name, column in COLUMNS.items()
        if row.get(name)
    }


def _number(text: str, path: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise RecordingError(f"{path}, line {line}: {text!r} is not a number") from error
