"""A real InfluxDB engine (1.6.7), behind the InfluxDB 2 write API: exact numbers, nasty tags, its way to refuse."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from fallow_collector.stores.store import Outcome, Series, StoreError
from tests.collector.stores.influx.batches import T0, batch, rows, series, span
from tests.collector.stores.influx.conftest import OpenStore
from tests.collector.stores.influx.servers import RealServer

pytestmark = pytest.mark.server("influxd")

NASTY = Series("site, 1", "a=b \\c\\\\d", 'GPU-"é漢"', "nvidia", "H100 80GB, HBM3=", "intelligent")


def ask(engine: RealServer, query: str) -> list[dict[str, object]]:
    answer = httpx.get(f"{engine.url}/query", params={"db": "fallow", "q": query, "epoch": "ms"}, trust_env=False)
    found: list[dict[str, object]] = json.loads(answer.text)["results"][0].get("series", [])
    return found


def test_every_float_and_every_tag_comes_back_exactly(
    influx_engine: RealServer, influx_url: str, open_store: OpenStore
) -> None:
    store = open_store(influx_url)
    gauges = np.array([0.1, 1 / 3, 85_899_345_920, 1e-38, 3.4e38, 0, 16_777_217, -40], np.float32)
    counters = np.array([0.1 + 0.2, 1e300, 5e-324, 2.0**53, 2.0**53 - 1, 123_456_789.123, 0, 1e21])
    block = rows(gauges.reshape(-1, 1), ("power_watts",), counters.reshape(-1, 1), ("energy_joules_total",))
    assert store.write(batch(block, span(1, 8), devices=[NASTY]), now=100) == Outcome(committed=[span(1, 8)])
    (found,) = ask(influx_engine, "SELECT power_watts, energy_joules_total FROM device GROUP BY *")
    assert found["tags"] == {
        "site": NASTY.site, "node": NASTY.node, "uuid": NASTY.uuid, "vendor": NASTY.vendor, "model": NASTY.model,
        "class": NASTY.device_class,
    }
    back = np.array(found["values"], np.float64)
    assert back[:, 0].tolist() == [T0 + 1000 * n for n in range(8)]
    assert back[:, 1].astype(np.float32).tolist() == gauges.tolist()
    assert back[0, 1] == 0.1
    assert back[:, 2].tolist() == counters.tolist()


def test_rows_in_conflict_with_a_field_of_the_bucket_are_set_aside_and_the_rest_is_stored(
    influx_engine: RealServer, influx_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    httpx.post(
        f"{influx_engine.url}/write", params={"db": "fallow", "precision": "ms"}, trust_env=False,
        content=f"device,uuid=other clock_hertz=5i {T0}\n",
    ).raise_for_status()
    store = open_store(influx_url)
    block = rows([[1, np.nan], [2, 7], [3, np.nan]], ("power_watts", "clock_hertz"))
    outcome = store.write(batch(block, span(1, 3)), now=100)
    assert (outcome.committed, outcome.refused_rows) == ([span(1, 3)], 1)
    assert "field type conflict" in outcome.message
    assert "power_watts=2,clock_hertz=7" in (tmp_path / "state" / "refused.lp").read_text()
    (found,) = ask(influx_engine, "SELECT power_watts FROM device")
    assert found["values"] == [[T0, 1], [T0 + 2000, 3]]  # a row is refused whole


def test_a_batch_that_is_wholly_outside_retention_is_set_aside_in_one_go(
    influx_engine: RealServer, influx_url: str, open_store: OpenStore
) -> None:
    httpx.post(
        f"{influx_engine.url}/query", trust_env=False,
        params={"q": "CREATE RETENTION POLICY short ON fallow DURATION 1h REPLICATION 1 DEFAULT"},
    ).raise_for_status()
    store = open_store(influx_url)
    outcome = store.write(batch(rows(np.ones((500, 1)))), now=100)
    assert (outcome.committed, outcome.refused_rows) == ([span(1)], 500)
    assert "retention policy" in outcome.message
    assert store.facts()["bodies_total"] == 1


def test_a_bucket_that_is_not_there_and_a_wrong_token_are_clear_errors(
    influx_url: str, open_store: OpenStore, token_file: Path
) -> None:
    with pytest.raises(StoreError, match=r"database not found.*store\.influx\.bucket"):
        open_store(influx_url, bucket="nowhere").write(batch(rows([[1]])), now=100)
    token_file.write_text("wrong")
    with pytest.raises(StoreError, match=r"unauthorized.*store\.influx\.token_file"):
        open_store(influx_url).write(batch(rows([[1]])), now=100)


def test_what_influxdb_acknowledged_survives_kill_9(
    influx_engine: RealServer, influx_url: str, open_store: OpenStore
) -> None:
    store = open_store(influx_url)
    for number in range(20):
        store.write(batch(rows([[number]], time_ms=[T0 + number]), span(number + 1), devices=[series()]), now=100)
    influx_engine.kill()
    influx_engine.start()
    (found,) = ask(influx_engine, "SELECT count(power_watts) FROM device")
    assert found["values"][0][1] == 20  # type: ignore[index]
