"""The client for programs that wait for each answer."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

import httpx

from fallow_client import calls
from fallow_client.calls import EVERYTHING, Call, Where
from fallow_client.connection import DEFAULT_URL, settings_for, unreachable
from fallow_proto import api

Answer = TypeVar("Answer")


class Client:
    """Calls one collector; usable as a context manager. Every call raises FallowError.

        with Client("http://127.0.0.1:4918") as fallow:
            print(sum(group.idle for group in fallow.capacity().groups))
    """

    def __init__(self, url: str = DEFAULT_URL, token: str = "") -> None:
        self._url = url
        self._token = token
        self._http = httpx.Client(**settings_for(url))

    def capacity(self, where: Where = EVERYTHING) -> api.Capacity:
        return self.ask(calls.capacity(where))

    def devices(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Device]:
        return self.ask(calls.devices(where, limit, cursor))

    def all_devices(self, where: Where = EVERYTHING) -> Iterator[api.Device]:
        """Every device, page after page."""
        cursor: str | None = None
        while True:
            page = self.devices(where, cursor=cursor)
            yield from page.items
            if (cursor := page.next) is None:
                return

    def device(self, uuid: str) -> api.DeviceDetail:
        return self.ask(calls.device(uuid))

    def explain(self, uuid: str) -> api.Explanation:
        return self.ask(calls.explain(uuid))

    def nodes(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Node]:
        return self.ask(calls.nodes(where, limit, cursor))

    def history(
        self, uuid: str, columns: Iterable[str], start: str = "-1h", end: str = "now", step: str = "0"
    ) -> api.History:
        return self.ask(calls.history(uuid, columns, start, end, step))

    def declare(self, declared: Iterable[api.Declared]) -> api.DeclarationResult:
        return self.ask(calls.declare(declared))

    def retire(self, uuid: str) -> None:
        self.ask(calls.retire(uuid))

    def accept_baseline(self, uuid: str) -> api.Baseline:
        return self.ask(calls.accept_baseline(uuid))

    def ask(self, call: Call[Answer]) -> Answer:
        return calls.decode(call, self.fetch(call))

    def fetch(self, call: Call[Answer]) -> bytes:
        """The answer as it came."""
        try:
            answer = self._http.request(
                call.method, call.path, params=call.query, content=call.body or None,
                headers=calls.headers(call, self._token),
            )
        except httpx.HTTPError as error:
            raise unreachable(self._url, error) from error
        return calls.check(answer.status_code, answer.content)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
