"""History out of VictoriaMetrics: rows as they came through /api/v1/export, means through /api/v1/query_range.

Numbers come back with the 12 or so significant digits that it keeps, counted from the largest in a block of one
series. What was written less than about a second ago is not
there yet. Instant queries hide the newest 30 s unless told otherwise, hence latency_offset; and query_range moves start
and end to multiples of the step unless told nocache.
(https://docs.victoriametrics.com/#how-to-export-data-in-json-line-format, MetricsQL)
"""

import json
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import msgspec

from fallow_collector.stores.influx.lines import MEASUREMENT
from fallow_collector.stores.influx.table import Columns, bounds_ms, check, step_ms
from fallow_collector.stores.influx.token import TokenFile, said
from fallow_collector.stores.store import HistoryQuery, StoreError, Table
from fallow_proto.metrics import BY_NAME, Kind

_EXPORT_MS = 6 * 3_600_000
"""Of one export: bounds its memory at 10 Hz to about 200,000 rows."""
_MOST_POINTS = 10_000
"""Of one query_range; the server's own limit is 30,000 (-search.maxPointsPerTimeseries)."""


class _Exported(msgspec.Struct):
    metric: dict[str, str]
    values: list[float | str | None]
    timestamps: list[int]


class _Matrix(msgspec.Struct):
    result: list["_Series"]


class _Series(msgspec.Struct):
    values: list[tuple[float, str]]


class _Range(msgspec.Struct):
    status: str
    data: _Matrix


class Evaluation(NamedTuple):
    """One query_range: expressions over the `window_ms` up to and with first_ms, first_ms + step_ms, … last_ms."""

    first_ms: int
    last_ms: int
    step_ms: int
    window_ms: int


def evaluations(first_ms: int, last_ms: int, step_ms: int) -> Iterator[Evaluation]:
    """The questions whose windows are the steps from first_ms on, the last one cut to last_ms.

    A window is open on the left: the millisecond that it ends with is the last of its step.
    """
    at = first_ms
    while at + step_ms <= last_ms + 1:
        behind = at + min((last_ms + 1 - at) // step_ms, _MOST_POINTS) * step_ms
        yield Evaluation(at + step_ms - 1, behind - 1, step_ms, step_ms)
        at = behind
    if at <= last_ms:
        yield Evaluation(last_ms, last_ms, step_ms, last_ms + 1 - at)


def expression(column: str, uuid: str, window_ms: int) -> str:
    """The mean of a gauge, the last of a counter, over all series of the device: its tags may have changed."""
    window = f"{MEASUREMENT}_{column}{{uuid={_quoted(uuid)}}}[{window_ms}ms]"
    if BY_NAME[column].kind is Kind.COUNTER:
        return f"max(last_over_time({window}))"
    return f"sum(sum_over_time({window})) / sum(count_over_time({window}))"


class PromqlHistory:
    """May be used from any thread."""

    def __init__(self, url: str, token: TokenFile, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._http = httpx.Client(timeout=timeout_s, verify=ssl.create_default_context(), trust_env=False)

    def ask(self, query: HistoryQuery) -> Table:
        """Raises StoreError."""
        check(query)
        first_ms, last_ms = bounds_ms(query)
        columns = Columns(query.columns)
        if step := step_ms(query):
            self._stepped(query, first_ms, last_ms, step, columns)
        else:
            self._raw(query, first_ms, last_ms, columns)
        return columns.table(query.limit)

    def close(self) -> None:
        self._http.close()

    def _raw(self, query: HistoryQuery, first_ms: int, last_ms: int, columns: Columns) -> None:
        names = "|".join(f"{MEASUREMENT}_{column}" for column in query.columns)
        selector = f'{{__name__=~"{names}",uuid={_quoted(query.uuid)}}}'
        decoder = msgspec.json.Decoder(_Exported)
        for at in range(first_ms, last_ms + 1, _EXPORT_MS):
            until = min(at + _EXPORT_MS - 1, last_ms)
            text = self._get("export", {"match[]": selector, "start": at / 1000, "end": until / 1000})
            try:
                found = decoder.decode_lines(text)
            except msgspec.MsgspecError as error:
                raise self._garbage("export", error) from error
            for series in found:
                name = series.metric.get("__name__", "").removeprefix(f"{MEASUREMENT}_")
                columns.add(name, series.timestamps, [_number(value) for value in series.values])
            if len(columns) >= query.limit:
                return

    def _stepped(self, query: HistoryQuery, first_ms: int, last_ms: int, step: int, columns: Columns) -> None:
        decoder = msgspec.json.Decoder(_Range)
        for part in evaluations(first_ms, last_ms, step):
            for column in query.columns:
                text = self._get("query_range", {
                    "query": expression(column, query.uuid, part.window_ms),
                    "start": part.first_ms / 1000,
                    "end": part.last_ms / 1000,
                    "step": f"{part.step_ms}ms",
                    "nocache": "1",
                    "latency_offset": "1ms",
                })
                try:
                    found = decoder.decode(text)
                except msgspec.MsgspecError as error:
                    raise self._garbage("query_range", error) from error
                for series in found.data.result:
                    times = [first_ms + (round(time * 1000) - first_ms) // step * step for time, _ in series.values]
                    columns.add(column, times, [_number(value) for _, value in series.values])
            if len(columns) >= query.limit:
                return

    def _get(self, name: str, parameters: dict[str, Any]) -> bytes:
        url = f"{self._url}/api/v1/{name}"
        # A cluster that lacks a storage node must say so instead of leaving out what it held.
        parameters["deny_partial_response"] = "1"
        try:
            answer = self._http.post(url, data=parameters, headers=self._token.headers())
        except httpx.HTTPError as error:
            raise StoreError(f"{url} cannot be asked for history: {error or type(error).__name__}") from error
        if answer.status_code != httpx.codes.OK:
            raise StoreError(
                f"{url} answered {answer.status_code}: {said(answer.text, self._token.text())}; expected "
                "VictoriaMetrics: check store.influx.url and token_file, or set store.influx.query to what the server "
                "speaks"
            )
        return answer.content

    def _garbage(self, name: str, error: Exception) -> StoreError:
        return StoreError(f"{self._url}/api/v1/{name} answered what is not VictoriaMetrics' JSON: {error}")


def _quoted(text: str) -> str:
    """A PromQL string; its escapes are Go's, which JSON's are among."""
    return json.dumps(text, ensure_ascii=False)


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)
