"""A real VictoriaMetrics: what was written is what PromQL and history return; kill -9 loses nothing acknowledged."""

import time

import httpx
import numpy as np
import pytest

from fallow_collector.stores.store import Batch, HistoryQuery, Outcome, Series, StoreError
from tests.collector.stores.influx.batches import batch, rows, series, span
from tests.collector.stores.influx.conftest import OpenStore
from tests.collector.stores.influx.servers import RealServer

pytestmark = pytest.mark.server("victoria-metrics")

NASTY = Series("site, 1", "a=b \\c", 'GPU-"é漢"', "nvidia", "H100 80GB, HBM3=", "intelligent")


def base_ms() -> int:
    """A minute ago, at a whole minute."""
    return (int(time.time()) // 60 - 2) * 60_000


def flush(server: RealServer) -> None:
    """Make what was written visible now instead of within a second."""
    httpx.get(f"{server.url}/internal/force_flush", trust_env=False).raise_for_status()


def instant(server: RealServer, query: str, at_ms: int) -> list[dict[str, object]]:
    answer = httpx.get(
        f"{server.url}/api/v1/query", params={"query": query, "time": at_ms / 1000, "nocache": "1"}, trust_env=False
    )
    found: list[dict[str, object]] = answer.json()["data"]["result"]
    return found


def test_a_promql_query_returns_what_was_written(victoria: RealServer, open_store: OpenStore) -> None:
    t0 = base_ms()
    store = open_store(victoria.url)
    block = rows([[71.3]], ("power_watts",), [[2.0**40 + 0.25]], ("energy_joules_total",), [t0])
    store.write(batch(block, devices=[series()._replace(vendor="")]), now=time.time())
    flush(victoria)
    (found,) = instant(victoria, 'device_power_watts{uuid="GPU-1"}', t0)
    assert found["metric"] == {
        "__name__": "device_power_watts", "site": "default", "node": "n1", "uuid": "GPU-1", "model": "H100",
        "class": "intelligent",
    }
    assert found["value"] == [t0 / 1000, "71.3"]
    (energy,) = instant(victoria, "device_energy_joules_total", t0)
    assert float(energy["value"][1]) == pytest.approx(2.0**40 + 0.25, rel=1e-12)  # type: ignore[index]


def test_nasty_tags_and_float32_come_back_whole(victoria: RealServer, open_store: OpenStore) -> None:
    t0 = base_ms()
    store = open_store(victoria.url, query="promql")
    # It packs a block of one series on a common decimal exponent: 1e20 watts would make 0.1 beside it 0.
    watts = np.array([0.1, 1 / 3, 71.3, 0, 1e-4, 20_000, 123.456, -0.7], np.float32)
    memory = np.array([85_899_345_920, 0, 2**20, 1_234_567_936, 2**31, 16_777_216, 512, 4096], np.float32)
    block = rows(np.column_stack([watts, memory]).tolist(), ("power_watts", "memory_usage_bytes"),
                 time_ms=[t0 + 1000 * n for n in range(len(watts))])
    store.write(batch(block, devices=[NASTY]), now=time.time())
    flush(victoria)
    columns = ("power_watts", "memory_usage_bytes")
    table = store.history(HistoryQuery(NASTY.uuid, columns, t0 / 1000, t0 / 1000 + 60, 0))
    np.testing.assert_array_equal(table.values.astype(np.float32), np.column_stack([watts, memory]))
    assert table.values[0, 0] == 0.1
    (labels,) = (
        found["metric"] for found in instant(victoria, '{uuid="GPU-\\"é漢\\"",__name__="device_power_watts"}', t0)
    )
    assert labels == {
        "__name__": "device_power_watts", "site": NASTY.site, "node": NASTY.node, "uuid": NASTY.uuid,
        "vendor": NASTY.vendor, "model": NASTY.model, "class": NASTY.device_class,
    }


def test_raw_history_is_the_rows_as_they_came(victoria: RealServer, open_store: OpenStore) -> None:
    t0 = base_ms()
    store = open_store(victoria.url, query="promql")
    store.write(
        batch(rows([[1, 10], [np.nan, 20], [3, np.nan], [4, 40]], ("power_watts", "clock_hertz"),
                   time_ms=[t0, t0 + 100, t0 + 200, t0 + 300])),
        now=time.time(),
    )
    flush(victoria)
    query = HistoryQuery("GPU-1", ("clock_hertz", "power_watts", "processes"), t0 / 1000, t0 / 1000 + 0.3, 0)
    table = store.history(query)
    assert table.time.tolist() == [t0 / 1000, t0 / 1000 + 0.1, t0 / 1000 + 0.2]
    np.testing.assert_array_equal(table.values, [[10, 1, np.nan], [20, np.nan, np.nan], [np.nan, 3, np.nan]])
    assert store.history(query._replace(limit=2)).time.tolist() == table.time.tolist()[:2]
    assert store.history(query._replace(uuid="another")).time.tolist() == []


@pytest.mark.parametrize(("start_s", "end_s", "step"), [(0, 60, 10), (3.5, 47.2, 10), (7, 8, 10), (0.05, 60, 0.75)])
def test_stepped_history_is_the_mean_of_gauges_and_the_last_of_counters(
    victoria: RealServer, open_store: OpenStore, start_s: float, end_s: float, step: float
) -> None:
    t0 = base_ms()
    rng = np.random.default_rng(7)
    times = t0 + np.unique(rng.integers(0, 60_000, 200))
    power = np.rint(rng.random(len(times)) * 100)
    energy = np.cumsum(power)
    moved = len(times) // 2  # the device's tags change half way
    store = open_store(victoria.url, query="promql")
    block = rows(power.reshape(-1, 1), ("power_watts",), energy.reshape(-1, 1), ("energy_joules_total",),
                 times.tolist(), [int(n >= moved) for n in range(len(times))])
    store.write(batch(block, devices=[series(), series(node="n2")]), now=time.time())
    flush(victoria)
    start, end = t0 / 1000 + start_s, t0 / 1000 + end_s
    table = store.history(HistoryQuery("GPU-1", ("energy_joules_total", "power_watts"), start, end, step))
    step_ms = round(step * 1000)
    inside = (times >= t0 + start_s * 1000) & (times < t0 + end_s * 1000)
    first = t0 + round(start_s * 1000)
    steps = first + (times[inside] - first) // step_ms * step_ms
    expected = [
        (at / 1000, energy[inside][steps == at][-1], power[inside][steps == at].mean()) for at in np.unique(steps)
    ]
    assert len(expected) == len(table.time)
    np.testing.assert_array_equal(table.time, [row[0] for row in expected])
    np.testing.assert_allclose(table.values, [row[1:] for row in expected], rtol=1e-12)
    assert store.history(HistoryQuery("GPU-1", ("power_watts",), start, end, step, limit=1)).time.tolist() == [
        expected[0][0]
    ]


def test_what_is_not_a_metric_is_not_asked_for(victoria: RealServer, open_store: OpenStore) -> None:
    with pytest.raises(StoreError, match="no column wattage"):
        open_store(victoria.url, query="promql").history(HistoryQuery("GPU-1", ("wattage",), 0, 1, 0))


def test_writing_the_same_rows_twice_changes_nothing(victoria: RealServer, open_store: OpenStore) -> None:
    t0 = base_ms()
    store = open_store(victoria.url, query="promql")
    for _ in range(2):
        store.write(batch(rows([[1], [2]], time_ms=[t0, t0 + 1000])), now=time.time())
    flush(victoria)
    table = store.history(HistoryQuery("GPU-1", ("power_watts",), t0 / 1000, t0 / 1000 + 60, 0))
    assert table.values.tolist() == [[1.0], [2.0]]


def test_killed_before_settling_all_is_wanted_again_and_after_settling_nothing_is(
    victoria: RealServer, open_store: OpenStore
) -> None:
    t0 = base_ms()
    store = open_store(victoria.url)
    first: Batch = batch(rows([[1]], time_ms=[t0]), span(1, 5))
    assert store.write(first, now=1000) == Outcome()
    assert store.poll(1014.9) == Outcome()
    victoria.kill()
    assert store.poll(1030) == Outcome(resend=[span(1, 5)])
    with pytest.raises(StoreError, match="cannot be reached"):
        store.write(first, now=1031)
    victoria.start()
    assert store.write(first, now=1032) == Outcome()
    assert store.poll(1048) == Outcome(committed=[span(1, 5)])
    victoria.kill()
    assert store.poll(1049) == Outcome()
    victoria.start()
    assert store.poll(1050) == Outcome()


def test_a_restart_between_two_looks_is_seen(victoria: RealServer, open_store: OpenStore) -> None:
    store = open_store(victoria.url)
    assert store.write(batch(rows([[1]], time_ms=[base_ms()])), now=1000) == Outcome()
    assert store.poll(1001) == Outcome()
    victoria.kill()
    began = time.time()
    while int(time.time()) == int(began):  # start times have whole seconds
        time.sleep(0.02)
    victoria.start()
    assert store.poll(1030) == Outcome(resend=[span(1)])
    assert store.facts()["restarts_total"] == 1
