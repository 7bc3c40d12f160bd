"""Server-sent events out of the bytes of a stream, as the HTML standard says (9.2.6). Pure.

Not by lines of text: str.splitlines, and with it httpx, also ends a line at characters that JSON leaves as they are.
"""

import re
from typing import NamedTuple

from fallow_client.errors import Malformed

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a \r at the very end may be half of a \r\n
MOST_BYTES = 2**20  # of one event; what is longer is no event of a collector


class ServerSent(NamedTuple):
    kind: str
    id: str | None  # None: the last one holds
    data: bytes


class Decoder:
    """Holds what has not made a whole event yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = ""
        self._id: str | None = None
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerSent]:
        """The events that are whole with these bytes. Raises Malformed."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        if len(self._rest) > MOST_BYTES:
            raise Malformed(f"a line of more than {MOST_BYTES} bytes came; is this a collector's /api/v1/watch?")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> ServerSent | None:
        if not line:
            return self._dispatched()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
            case b"event":
                self._kind = value.decode(errors="replace")
            case b"id":
                self._id = value.decode(errors="replace")
        return None

    def _dispatched(self) -> ServerSent | None:
        kind, self._kind = self._kind, ""
        event_id, self._id = self._id, None
        data, self._data = self._data, []
        return ServerSent(kind or "message", event_id, b"\n".join(data)) if data else None
