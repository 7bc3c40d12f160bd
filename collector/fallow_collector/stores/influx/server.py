"""What the server says that it is, and since when its process runs.

It is asked over HTTP: /ping and /metrics below `url`, or at the root of its host where there is a path in `url`
(vminsert's /insert/0/influx has neither).

found                                                        is                  settle_s
X-Server-Hostname with /ping, or vm_app_version in /metrics  VictoriaMetrics     15 (it loses 6 to 11 s on kill -9)
else X-Influxdb-Version with /ping                           InfluxDB            0 (its log is on disk by then)
else                                                         unknown             15, as the least durable one known

VictoriaMetrics sends X-Influxdb-Version too, with some of its answers: its own signs are looked for first.
"""

import re
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from time import monotonic
from typing import NamedTuple

import httpx

from fallow_collector.stores.influx.settle import Alive, Broken, Seen, Silent
from fallow_collector.stores.influx.token import TokenFile


class Kind(StrEnum):
    INFLUXDB = "InfluxDB"
    VICTORIAMETRICS = "VictoriaMetrics"
    UNKNOWN = "an unknown server"


SETTLE_S = {Kind.INFLUXDB: 0.0, Kind.VICTORIAMETRICS: 15.0, Kind.UNKNOWN: 15.0}


class Server(NamedTuple):
    kind: Kind
    start: float | None
    """When its process began, unix seconds; None: it does not say."""
    at: float | None = None
    """When it said so by its own clock, whole unix seconds; None: it does not say."""

    @property
    def is_distinct(self) -> bool:
        """Whether every process that follows will have begun at another second, so that it can be told from this one.

        VictoriaMetrics says only the second: one that died in its first, and the one that followed at once, looked the
        same, and 3 in 1,000 kills lost rows that were acknowledged.
        """
        return self.start is None or self.at is None or int(self.at) > int(self.start)


def kind_of(ping_headers: Mapping[str, str], metrics: str) -> Kind:
    """What it is; the headers' names are compared without regard to case by httpx."""
    if "x-server-hostname" in ping_headers or "\nvm_app_version{" in "\n" + metrics:
        return Kind.VICTORIAMETRICS
    if "x-influxdb-version" in ping_headers:
        return Kind.INFLUXDB
    return Kind.UNKNOWN


MOST_BYTES = 4 * 2**20
"""Of an answer that is read: VictoriaMetrics says 100 kB about itself."""

_START = re.compile(r"^(?:process_start_time_seconds|vm_app_start_timestamp) ([0-9.e+]+)$", re.MULTILINE)


def start_of(metrics: str) -> float | None:
    """The process's start time out of Prometheus text, unix seconds; InfluxDB 2 and VictoriaMetrics both print it."""
    found = _START.search(metrics)
    return float(found[1]) if found else None


def date_of(headers: Mapping[str, str]) -> float | None:
    """When an answer was made by its server's clock, unix seconds (RFC 9110 §6.6.1)."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return None


class Unreachable(Exception):
    """The server did not answer; `seen` says how, the message why."""

    def __init__(self, seen: Seen, message: str) -> None:
        super().__init__(message)
        self.seen = seen


class _Answer(NamedTuple):
    """text: as much of it as came in time."""

    is_success: bool
    is_server_error: bool
    headers: httpx.Headers
    text: str


class Watch:
    """Asks the server who it is and since when. One connection, kept open."""

    def __init__(self, url: str, token: TokenFile, timeout_s: float) -> None:
        whole = httpx.URL(url.rstrip("/"))
        root = whole.copy_with(path="/", query=None)
        self._bases = [whole] if whole.path == "/" else [whole, root]
        self._metrics: httpx.URL | None = None
        self._timeout_s = timeout_s
        self._token = token  # InfluxDB 3 wants it even with /ping
        # The system's certificates, and no proxy from the environment: as influxdb-client, which writes.
        self._http = httpx.Client(timeout=timeout_s, verify=ssl.create_default_context(), trust_env=False)

    def meet(self) -> Server:
        """Raises Unreachable."""
        headers = httpx.Headers()
        for base in self._bases:
            answer = self._get(_below(base, "ping"))
            if answer.is_success:
                headers = answer.headers
                break
        text, at = "", None
        for base in self._bases:
            answer = self._get(_below(base, "metrics"))
            if answer.is_success:
                self._metrics, text, at = _below(base, "metrics"), answer.text, date_of(answer.headers)
                break
        return Server(kind_of(headers, text), start_of(text), at)

    def look(self) -> Seen:
        """Is it still there, and still the same process?"""
        try:
            answer = self._get(self._metrics or _below(self._bases[-1], "ping"))
        except Unreachable as error:
            return error.seen
        if answer.is_server_error:  # a proxy that does not reach it, or the server on its way down
            return Broken()
        return Alive(start_of(answer.text) if answer.is_success else None)

    def close(self) -> None:
        self._http.close()

    def _get(self, url: httpx.URL) -> _Answer:
        deadline = monotonic() + self._timeout_s
        text = b""
        try:
            with self._http.stream("GET", url, headers=self._token.headers()) as answer:
                for part in answer.iter_bytes():
                    text += part
                    if len(text) > MOST_BYTES or monotonic() > deadline:
                        break
            return _Answer(
                answer.is_success, answer.is_server_error, answer.headers, text[:MOST_BYTES].decode(errors="replace")
            )
        except httpx.TimeoutException as error:
            raise Unreachable(Silent(), f"{url} did not answer in {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise Unreachable(Broken(), f"{url} cannot be reached: {error}") from error


def _below(base: httpx.URL, name: str) -> httpx.URL:
    return base.copy_with(path=f"{base.path.rstrip('/')}/{name}")
