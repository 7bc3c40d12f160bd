"""Flux as it is asked and read; there is no InfluxDB 2 here to run it."""

import math

import pytest

from fallow_collector.stores.influx.flux import texts
from fallow_collector.stores.store import HistoryQuery, StoreError
from tests.collector.stores.influx.conftest import OpenStore
from tests.collector.stores.influx.fake import Behaviour, FakeInflux, Garbage, Hang, Reply
from tests.collector.stores.influx.shim import TOKEN

RAW = HistoryQuery('GPU-"1"', ("power_watts", "energy_joules_total"), 1000.0, 1060.5, 0, limit=100)
STEPPED = RAW._replace(start=1005.0, step=10)

HEAD = """\
#datatype,string,long,string,dateTime:RFC3339,double\r
#group,false,false,true,false,false\r
#default,_result,,,,\r
,result,table,_field,_time,_value\r
"""


def test_rows_as_they_came_are_one_question() -> None:
    assert list(texts(RAW)) == ["""\
from(bucket: _bucket)
  |> range(start: _from, stop: _until)
  |> filter(fn: (r) => r._measurement == "device" and r.uuid == _uuid)
  |> filter(fn: (r) => r._field == "power_watts" or r._field == "energy_joules_total")
  |> group(columns: ["_field", "_start", "_stop"])
  |> sort(columns: ["_time"])
  |> keep(columns: ["_field", "_time", "_value"])
  |> limit(n: _limit)
"""]


def test_steps_ask_for_the_mean_of_gauges_and_the_last_of_counters() -> None:
    gauges, counters = texts(STEPPED)
    assert 'r._field == "power_watts")' in gauges
    assert "|> aggregateWindow(every: _every, offset: _offset, fn: mean, createEmpty: false, " in gauges
    assert 'timeSrc: "_start")' in gauges
    assert 'r._field == "energy_joules_total")' in counters
    assert "fn: last" in counters


def test_what_comes_from_outside_travels_as_syntax_tree_and_never_as_text(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    asked: list[dict[str, object]] = []

    def on_query(question: dict[str, object]) -> Behaviour:
        asked.append(question)
        return Reply(200)

    fake.on_query = on_query
    open_store(fake.url, query="flux").history(STEPPED)
    assert fake.requests[-1] == ("/api/v2/query?org=org", f"Token {TOKEN}")
    assert len(asked) == 2
    given = {
        statement["assignment"]["id"]["name"]: statement["assignment"]["init"]
        for statement in asked[0]["extern"]["body"]  # type: ignore[index]
    }
    assert given["_uuid"] == {"type": "StringLiteral", "value": 'GPU-"1"'}
    assert given["_bucket"]["value"] == "fallow"
    assert given["_from"]["value"] == "1970-01-01T00:16:45.000000000Z"
    assert given["_until"]["value"] == "1970-01-01T00:17:40.500000000Z"
    assert given["_limit"]["value"] == "100"
    assert given["_every"]["values"] == [{"magnitude": 10_000_000, "unit": "us"}]
    assert given["_offset"]["values"] == [{"magnitude": 5_000_000, "unit": "us"}]
    assert 'GPU-"1"' not in str(asked[0]["query"])


def test_annotated_csv_becomes_a_table(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    def on_query(question: dict[str, object]) -> Behaviour:
        if "mean" in str(question["query"]):
            return Reply(200, HEAD + (
                ",,0,power_watts,1970-01-01T00:16:45Z,71.5\r\n"
                ",,0,power_watts,1970-01-01T00:16:55Z,80\r\n"
            ))
        return Reply(200, HEAD + ",,0,energy_joules_total,1970-01-01T00:16:55Z,1234567.25\r\n")

    fake.on_query = on_query
    table = open_store(fake.url, query="flux").history(STEPPED)
    assert table.time.tolist() == [1005.0, 1015.0]
    assert table.values[0, 0] == 71.5
    assert math.isnan(table.values[0, 1])
    assert table.values[1].tolist() == [80.0, 1234567.25]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Reply(401, '{"code":"unauthorized","message":"unauthorized access"}'), "unauthorized access.*token_file"),
        (Reply(200, "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n"
                    ",could not find bucket,897\r\n"), "could not find bucket"),
        (Reply(200, "<html>\n<p>Welcome</p>\n</html>"), "not its annotated CSV"),
        (Garbage(), "cannot be asked for in Flux"),
        (Hang(), "cannot be asked for in Flux"),
    ],
)
def test_an_answer_that_is_none_is_an_error(
    fake: FakeInflux, open_store: OpenStore, behaviour: Behaviour, message: str
) -> None:
    fake.on_query = lambda _: behaviour
    with pytest.raises(StoreError, match=message):
        open_store(fake.url, query="flux", timeout_s=1.5).history(RAW)
