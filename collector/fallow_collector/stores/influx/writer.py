"""One body to the write API, through influxdb-client; what the answer means is one table.

status       InfluxDB and VictoriaMetrics mean                          becomes
204          stored                                                     Stored
400, 422     some lines cannot be taken (whether the others are stored  Rejected
             differs by server and version); or the request is wrong
413          the body is too large                                      TooLarge
401, 403     token                                                      StoreError, and the token file is read again
404          org, bucket or path                                        StoreError
429, 503     too busy, with Retry-After                                 StoreError, and no attempt before that
3xx          somebody else's address: not followed, a token is not      StoreError
             for them
others       also a 200: whoever says that has stored nothing           StoreError
(https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite)
"""

import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import urllib3.exceptions
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from fallow_collector.stores.influx.bounded import BoundedPool
from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.influx.settle import Broken, Seen, Silent
from fallow_collector.stores.influx.token import said
from fallow_collector.stores.store import StoreError

_CONNECT_TIMEOUT_S = 5.0
_LONGEST_PAUSE_S = 600.0
"""A server that asks for a longer one is asked again all the same: agents' spools are finite."""


class Stored(NamedTuple):
    pass


class Rejected(NamedTuple):
    """The server understood the request and will not take some or all of its lines."""

    message: str


class TooLarge(NamedTuple):
    pass


Answer = Stored | Rejected | TooLarge


class WriteError(StoreError):
    """Nothing of the body counts as stored. seen: what that says of the server, None: it answered."""

    def __init__(
        self, message: str, *, seen: Seen | None = None, pause_s: float = 0.0, new_token: bool = False
    ) -> None:
        super().__init__(message)
        self.seen = seen
        self.pause_s = pause_s
        self.new_token = new_token


def connect(settings: InfluxSettings, token: str | None, timeout_s: float) -> Any:
    """An InfluxDBClient that does not retry, follows no redirect and trusts the system's certificates.

    Any, because its hints are partial and partly wrong.
    """
    return InfluxDBClient(
        url=settings.url,
        token=token or "",
        org=settings.org,
        timeout=(_CONNECT_TIMEOUT_S * 1000, timeout_s * 1000),
        ssl_context=ssl.create_default_context() if settings.url.startswith("https:") else None,
    )


class Writer:
    """Posts bodies of line protocol, precision ms, not compressed (that costs 17 µs a row and a LAN has room)."""

    def __init__(self, settings: InfluxSettings, token: str | None, timeout_s: float) -> None:
        self._settings = settings
        self._token = token
        self._timeout_s = timeout_s
        self._client = connect(settings, token, timeout_s)
        rest = self._client.api_client.rest_client
        rest.pool_manager = BoundedPool(timeout_s, **rest.pool_manager.connection_pool_kw)
        self._api = self._client.write_api(write_options=SYNCHRONOUS)

    def post(self, data: bytes, now: float) -> Answer:
        """Raises WriteError."""
        url = self._settings.url
        try:
            self._api.write(self._settings.bucket, self._settings.org, data, WritePrecision.MS)
        except ApiException as error:
            if not error.status:  # the client's way to say: TLS
                raise WriteError(f"{url}: {error.reason}; check the server's certificate", seen=Broken()) from error
            return judge(error.status, error.headers or {}, said(_text(error.body), self._token), url, now)
        except urllib3.exceptions.NewConnectionError as error:
            raise WriteError(f"{url} cannot be reached: {error}", seen=Broken()) from error
        except urllib3.exceptions.TimeoutError as error:
            raise WriteError(f"{url} did not answer a write in {self._timeout_s:g} s", seen=Silent()) from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: an answer that is not UTF-8
            raise WriteError(f"{url} broke the connection or does not speak HTTP: {error}", seen=Broken()) from error
        return judge(self._client.api_client.last_response.status, {}, "", url, now)

    def close(self) -> None:
        self._client.close()


def judge(status: int, headers: Mapping[str, str], text: str, url: str, now: float) -> Answer:
    """The table above. Raises WriteError; its message says which key of the configuration to look at."""
    found = f"{url} answered {status}" + (f": {text}" if text else "")
    match status:
        case 204:
            return Stored()
        case 400 | 422:
            return Rejected(text or f"status {status}")
        case 413:
            return TooLarge()
        case 401 | 403:
            raise WriteError(
                f"{found}; expected a token that may write the bucket: check store.influx.token_file "
                "(it is read again at the next attempt)",
                new_token=True,
            )
        case 404:
            raise WriteError(f"{found}; check store.influx.org, store.influx.bucket and the path in store.influx.url")
        case 429 | 503:
            pause_s = retry_after_s(headers, now)
            raise WriteError(f"{found}; too busy, the next attempt is in {pause_s:g} s", pause_s=pause_s)
        case _ if 300 <= status < 400:
            raise WriteError(
                f"{url} answered {status}, a redirect to {headers.get('Location', 'nowhere')}, which is not followed; "
                "set store.influx.url to the final address"
            )
        case _ if 200 <= status < 300:
            raise WriteError(f"{found}, expected 204; store.influx.url is not that of a write API")
        case _:
            raise WriteError(found)


def retry_after_s(headers: Mapping[str, str], now: float) -> float:
    """How long to leave the server alone: Retry-After in seconds or as a date (RFC 9110 §10.2.3); 0 when not said."""
    text = (headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        asked = float(text[:9])
    else:
        try:
            asked = parsedate_to_datetime(text).timestamp() - now
        except ValueError:
            asked = 0.0
    return min(max(asked, 0.0), _LONGEST_PAUSE_S)


def _text(body: str | bytes | None) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else body or ""
