"""History out of InfluxDB 2 in Flux, through influxdb-client.

Never run against a real InfluxDB 2 (none can be installed from the registries at hand): the tests hold the text of the
query and the reading of its annotated CSV against a server of their own. InfluxDB 3 does not speak Flux.
(https://docs.influxdata.com/flux/v0/stdlib/universe/aggregatewindow/)
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import urllib3.exceptions
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException

from fallow_collector.stores.influx.lines import MEASUREMENT
from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.influx.table import Columns, bounds_ms, check, step_ms
from fallow_collector.stores.influx.token import TokenFile, said
from fallow_collector.stores.influx.writer import connect
from fallow_collector.stores.store import HistoryQuery, StoreError, Table
from fallow_proto.metrics import BY_NAME, Kind


def texts(query: HistoryQuery) -> Iterator[str]:
    """The Flux to ask: one text for raw rows; for steps one for the gauges' means and one for the counters' last.

    Names that begin with an underscore are parameters (`parameters`). Series are grouped by field alone, because a
    device's tags may change; windows are counted from the range's start, for which Flux, that counts from 1970, wants
    an offset.
    """
    if query.step <= 0:
        if query.columns:
            yield _text(query.columns, "")
        return
    for kind, function in ((Kind.GAUGE, "mean"), (Kind.COUNTER, "last")):
        columns = tuple(name for name in query.columns if BY_NAME[name].kind is kind)
        if columns:
            yield _text(
                columns,
                f"  |> aggregateWindow(every: _every, offset: _offset, fn: {function}, createEmpty: false, "
                'timeSrc: "_start")\n',
            )


def _text(columns: tuple[str, ...], aggregate: str) -> str:
    fields = " or ".join(f'r._field == "{name}"' for name in columns)
    return (
        "from(bucket: _bucket)\n"
        "  |> range(start: _from, stop: _until)\n"
        f'  |> filter(fn: (r) => r._measurement == "{MEASUREMENT}" and r.uuid == _uuid)\n'
        f"  |> filter(fn: (r) => {fields})\n"
        '  |> group(columns: ["_field", "_start", "_stop"])\n'
        '  |> sort(columns: ["_time"])\n'
        f"{aggregate}"
        '  |> keep(columns: ["_field", "_time", "_value"])\n'
        "  |> limit(n: _limit)\n"
    )


def parameters(query: HistoryQuery, bucket: str) -> dict[str, Any]:
    """What the client sends beside the text, as Flux's own syntax tree: nothing needs to be quoted."""
    first_ms, last_ms = bounds_ms(query)
    named: dict[str, Any] = {
        "_bucket": bucket,
        "_uuid": query.uuid,
        "_from": _moment(first_ms),
        "_until": _moment(last_ms + 1),
        "_limit": query.limit,
    }
    if step := step_ms(query):
        named["_every"] = timedelta(milliseconds=step)
        named["_offset"] = timedelta(milliseconds=first_ms % step)
    return named


class FluxHistory:
    """May be used from any thread."""

    def __init__(self, settings: InfluxSettings, token: TokenFile, timeout_s: float) -> None:
        self._settings = settings
        self._token = token
        self._timeout_s = timeout_s

    def ask(self, query: HistoryQuery) -> Table:
        """Raises StoreError."""
        check(query)
        columns = Columns(query.columns)
        client = connect(self._settings, self._token.text(), self._timeout_s)
        try:
            for text in texts(query):
                for record in client.query_api().query_stream(text, params=parameters(query, self._settings.bucket)):
                    time_ms = round(record.get_time().timestamp() * 1000)
                    columns.add(record.get_field(), [time_ms], [record.get_value()])
        except (InfluxDBError, FluxQueryException, urllib3.exceptions.HTTPError) as error:
            raise StoreError(
                f"history cannot be asked for in Flux: {said(str(error), self._token.text())}; check store.influx.url, "
                "org, bucket and token_file (it must be allowed to read), or set store.influx.query to what the server "
                "speaks"
            ) from error
        except (FluxCsvParserException, LookupError, ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"the answer to a Flux query is not its annotated CSV: {error!r}") from error
        finally:
            client.close()
        return columns.table(query.limit)

    def close(self) -> None:
        """Nothing stays open between two questions."""


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
