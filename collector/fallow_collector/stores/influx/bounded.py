"""Connections that read no more of an answer than errors need. A server, or a proxy before it, may send a gigabyte or a
byte a second: neither fills the memory nor holds up the rows.
"""

from io import BytesIO
from time import monotonic
from typing import Any

import urllib3

MOST_BYTES = 64 * 1024


class BoundedPool(urllib3.PoolManager):
    """A pool for influxdb-client. limit_s: how long the body of an answer may take after its status."""

    def __init__(self, limit_s: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._limit_s = limit_s

    def request(self, method: str, url: str, *_: Any, **settings: Any) -> urllib3.BaseHTTPResponse:
        """With as much of the body as came within the bounds; the rest is never read."""
        answer = super().request(method, url, **{**settings, "preload_content": False})
        deadline = monotonic() + self._limit_s
        text = b""
        try:
            while len(text) < MOST_BYTES and monotonic() < deadline and (part := answer.read1(MOST_BYTES - len(text))):
                text += part
        except urllib3.exceptions.TimeoutError:  # the status has come: that decides
            pass
        finally:
            answer.close()  # a connection that was read to its end is back in the pool by now, and stays open
        return urllib3.HTTPResponse(
            BytesIO(text), answer.headers, answer.status, reason=answer.reason, decode_content=False,
            enforce_content_length=False,
        )
