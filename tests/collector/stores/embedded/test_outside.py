"""Others may read the files while the store is open."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fallow_collector.stores.embedded.columns import MINUTE, RAW
from tests.collector.stores.contract import GPU, MOVED, START, batch, rows
from tests.collector.stores.embedded.conftest import Place, close_slices, compact


def test_files_explain_themselves_to_any_reader_of_parquet(place: Place) -> None:
    store, _ = place.open()
    store.write(batch(
        rows([1, 61], {"power_watts": [80.0, 90.0]}, {"energy_joules_total": [5.0, 6.0]}, series=1),
        rows([1], {"temperature_celsius": [40.0]}), series=[MOVED, GPU],
    ), START)
    close_slices(store, START + 601)
    expected = [
        {**_tags(MOVED), "time": START + 1, "temperature_celsius": 40.0},
        {**_tags(GPU), "time": START + 1, "power_watts": 80.0, "energy_joules_total": 5.0},
        {**_tags(GPU), "time": START + 61, "power_watts": 90.0, "energy_joules_total": 6.0},
    ]
    assert _read(pq.read_table(place.directory / "parquet")) == expected
    compact(store, START + 3600)
    (hour,), (minute,) = place.files("parquet/hour-*"), place.files("parquet/minute-*")
    assert _read(pq.read_table(hour)) == expected
    assert pq.read_schema(hour).equals(RAW)
    assert pq.read_schema(minute).equals(MINUTE)
    kept = ("time", "last_time", "power_watts_sum", "power_watts_n", "energy_joules_total")
    assert [{key: row[key] for key in kept} for row in _read(pq.read_table(minute)) if row["node"] == GPU.node] == [
        dict(zip(kept, (START, START + 1, 80.0, 1, 5.0), strict=True)),
        dict(zip(kept, (START + 60, START + 61, 90.0, 1, 6.0), strict=True)),
    ]


def _tags(series: tuple[str, ...]) -> dict[str, object]:
    return dict(zip(("site", "node", "uuid", "vendor", "model", "class"), series, strict=True))


def _read(table: pa.Table) -> list[dict[str, object]]:
    """Rows as somebody with another library would see them: what is known, times in unix seconds."""
    for name in ("time", "last_time"):
        if name in table.column_names:
            seconds = pc.divide(table[name].cast(pa.int64()).cast(pa.float64()), 1000.0)
            table = table.set_column(table.column_names.index(name), name, seconds)
    table = table.drop_columns(["series"])
    return [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
