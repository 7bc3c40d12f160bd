"""The keys of [store.influx]."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec


class InfluxSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: str = ""
    """Where the write API is, without /api/v2/write: http://influx:8086, http://victoria:8428."""

    org: str = ""
    bucket: str = ""
    """VictoriaMetrics ignores both."""

    token_file: str = ""
    """File (mode 0600 or 0640) with the API token; empty: none is sent."""

    settle_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0
    """Seconds after which a write counts as stored for good. 0: by what the server says it is (see server.py)."""

    query: Literal["none", "flux", "promql"] = "none"
    """How history is asked for: flux of InfluxDB 2, promql of VictoriaMetrics."""

    def __post_init__(self) -> None:
        if self.url:
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"url = {self.url!r}, expected http://host:port or https://host:port")
            if parts.query or "@" in parts.netloc:  # not repeated here: it may be a secret
                raise ValueError(
                    "url holds a query, or a user or password, expected http://host:port or https://host:port; a token "
                    "belongs into token_file"
                )
