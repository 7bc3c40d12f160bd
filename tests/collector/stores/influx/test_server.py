import httpx
import pytest

from fallow_collector.stores.influx.server import SETTLE_S, Kind, Server, date_of, kind_of, start_of

OPEN_SOURCE = {"X-Influxdb-Build": "OSS", "X-Influxdb-Version": "v2.7.1"}
VICTORIA = 'vm_rows_invalid_total{type="influx"} 0\nvm_app_version{version=""} 1\nvm_app_start_timestamp 1795308352\n'


@pytest.mark.parametrize(
    ("headers", "metrics", "kind", "settle_s"),
    [
        (OPEN_SOURCE, "", Kind.INFLUXDB, 0),
        (OPEN_SOURCE, "go_info 1\nprocess_start_time_seconds 1.79e+09\n", Kind.INFLUXDB, 0),
        ({"X-Server-Hostname": "vm"}, "", Kind.VICTORIAMETRICS, 15),
        ({}, VICTORIA, Kind.VICTORIAMETRICS, 15),
        ({"X-Influxdb-Version": "1.8.0"}, VICTORIA, Kind.VICTORIAMETRICS, 15),
        ({"X-Influxdb-Version": "1.8.0", "X-Server-Hostname": "vm"}, "", Kind.VICTORIAMETRICS, 15),
        ({}, "", Kind.UNKNOWN, 15),
    ],
)
def test_only_a_server_that_is_surely_influxdb_settles_at_once(
    headers: dict[str, str], metrics: str, kind: Kind, settle_s: float
) -> None:
    assert kind_of(httpx.Headers(headers), metrics) is kind
    assert SETTLE_S[kind] == settle_s


@pytest.mark.parametrize(
    ("metrics", "start"),
    [
        ("process_start_time_seconds 1795308352\n", 1795308352),
        ("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.69e+09\n", 1.69e9),
        (VICTORIA, 1795308352),
        ("other 1\n", None),
        ("", None),
    ],
)
def test_the_start_is_read_out_of_prometheus_text(metrics: str, start: float | None) -> None:
    assert start_of(metrics) == start


@pytest.mark.parametrize(
    ("start", "at", "distinct"),
    [
        (1795308352, 1795308352, False),  # the next one may begin in this second, too
        (1795308352, 1795308353, True),
        (1795308352.9, 1795308353, True),
        (1795308352, 1795308351, False),  # a clock that was set back says nothing
        (None, 1795308353, True),  # nothing better is to be had
        (1795308352, None, True),
    ],
)
def test_a_process_can_be_told_from_all_that_follow_once_its_second_is_over(
    start: float | None, at: float | None, distinct: bool
) -> None:
    assert Server(Kind.VICTORIAMETRICS, start, at).is_distinct is distinct


@pytest.mark.parametrize(
    ("headers", "at"),
    [({"Date": "Sun, 22 Nov 2026 12:45:52 GMT"}, 1795351552.0), ({"Date": "soon"}, None), ({}, None)],
)
def test_a_server_s_clock_is_read_out_of_its_answer(headers: dict[str, str], at: float | None) -> None:
    assert date_of(httpx.Headers(headers)) == at
