"""Watches over real HTTP, server and clients in one loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fallow_client.commands.token import mint
from fallow_collector.api.answers import Where
from fallow_collector.api.app import make_app
from fallow_collector.api.server import HttpServer
from fallow_collector.api.tokens import Role, Tokens
from fallow_collector.watch import feed
from fallow_collector.watch.watchers import Watchers
from tests.collector.api.memory import MemoryAnswers
from tests.collector.watch.fleets import Client, Site

DEADLINE_S = 60.0
EVERYTHING = Where()


class Served:
    """A small fleet behind a real server. bookmark_s: as if ten seconds passed faster."""

    def __init__(self, bookmark_s: float = 60.0, limit: int = 256, tokens: Tokens | None = None) -> None:
        self.site = Site()
        self.watches = Watchers(self.site.feed, bookmark_s, limit)
        self.server = HttpServer(make_app(MemoryAnswers(), tokens, "0", watches=self.watches), "127.0.0.1:0")

    async def start(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://{await self.server.start()}", trust_env=False, timeout=DEADLINE_S)


class Stream:
    """An open watch, read until something was told."""

    def __init__(self, answer: httpx.Response, client: Client) -> None:
        self.answer = answer
        self.client = client
        self._chunks = answer.aiter_bytes()
        self._rest = b""

    async def until(self, true: Callable[[Client], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true(self.client):
                if not await self.read():
                    raise AssertionError(f"the stream has ended; it said {self.client.changes}")

    async def end(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.read():
                pass

    async def read(self) -> bool:
        """The next events; False: the stream has ended as it should."""
        async for chunk in self._chunks:
            events, separator, self._rest = (self._rest + chunk).rpartition(b"\n\n")
            self.client.hear(events + separator)
            return True
        return False


@asynccontextmanager
async def watching(http: httpx.AsyncClient, client: Client, **request: Any) -> AsyncIterator[Stream]:
    async with http.stream("GET", "/api/v1/watch", **request) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer, client)


def listed(client: Client) -> bool:
    return any(change.kind == "bookmark" for change in client.changes)


def run(test: Callable[[Served, httpx.AsyncClient], Coroutine[Any, Any, None]], served: Served) -> None:
    async def all_of_it() -> None:
        http = await served.start()
        try:
            async with http:
                await test(served, http)
        finally:
            served.watches.close()
            await served.server.stop()

    asyncio.run(all_of_it())


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110  # the server's tasks notice, nobody tells
            await asyncio.sleep(0.01)


def test_a_watch_lists_and_then_tells_what_changes() -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        async with watching(http, client := Client(), params={"node": "n1"}) as stream:
            await stream.until(listed)
            assert sorted(client.devices) == ["a0", "a1"]
            assert [change.kind for change in client.changes] == ["added", "added", "bookmark"]
            served.site.lease("a0", "lease-1")
            await stream.until(lambda client: client.devices["a0"].phase == "leased")
            assert client.devices["a0"].lease_id == "lease-1"
            assert client.changes[-1].kind == "modified"

    run(story, Served())


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_a_watch_is_resumed_after_a_cut_without_loss_or_repetition(how: str) -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        async with watching(http, client := Client()) as stream:
            await stream.until(listed)
        served.site.lease("a0", "lease-1")
        served.site.lease("b0", "lease-2")
        served.site.free("b0")
        client.changes.clear()
        resume: dict[str, Any] = (
            {"headers": {"last-event-id": client.last_id}, "params": {"resume": "old:1"}} if how == "header"
            else {"params": {"resume": client.last_id}}
        )
        async with watching(http, client, **resume) as stream:
            await stream.until(listed)
        assert [change.device.uuid for change in client.changes if change.device] == ["a0", "b0"]
        assert client.devices == served.site.matching(where=EVERYTHING)

    run(story, Served())


@pytest.mark.parametrize("resume", ["another-epoch:3", "{epoch}:999", "{epoch}:0"])
def test_a_gap_is_said_and_ends_the_stream_and_a_browser_then_lists(resume: str) -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        served.site.feed.log.oldest = 1
        client = Client()
        client.last_id = resume.format(epoch=served.site.view.epoch)
        async with watching(http, client, headers={"last-event-id": client.last_id}) as stream:
            await stream.end()
        assert [change.kind for change in client.changes] == ["resync"]
        assert client.last_id == ""

    run(story, Served())


def test_bookmarks_come_though_nothing_changes() -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        async with watching(http, client := Client(), params={"site": "nowhere"}) as stream:
            await stream.until(lambda client: len(client.changes) >= 3)
            assert {change.kind for change in client.changes} == {"bookmark"}
            served.site.lease("a0", "lease-1")
            await stream.until(lambda client: client.changes[-1].revision == served.site.view.revision)

    run(story, Served(bookmark_s=0.02))


def test_so_many_watch_and_the_next_one_is_told_why_not_until_one_goes() -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        async with watching(http, Client()) as one:
            await one.until(listed)
            async with watching(http, Client()) as two:
                await two.until(listed)
                refused = await http.get("/api/v1/watch")
                assert refused.status_code == 503
                assert "2 watches are open" in refused.json()["detail"]
            await eventually(lambda: len(served.watches) == 1)
            async with watching(http, Client()) as three:
                await three.until(listed)
        await eventually(lambda: len(served.watches) == 0)

    run(story, Served(limit=2))


def test_stopping_ends_open_watches_as_they_should_end() -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        async with watching(http, Client()) as stream:
            await stream.until(listed)
            served.watches.close()
            await stream.end()
        assert (await http.get("/api/v1/watch")).status_code == 503

    run(story, Served())


def test_stopping_does_not_wait_for_the_rest_of_a_long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CHUNK", 1)

    async def story() -> list[bytes]:
        watches = Watchers(Site().feed)
        heard = []
        async for chunk in watches.join(EVERYTHING, None):
            heard.append(chunk)
            watches.close()
        return heard

    assert len(asyncio.run(story())) == 1, "of four devices"


def test_a_reader_that_takes_nothing_delays_nobody_and_hears_the_newest_state_in_the_end() -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        async with watching(http, slow := Client()) as lagging:
            await lagging.until(listed)
            async with watching(http, client := Client()) as stream:
                await stream.until(listed)
                for number in range(50):
                    served.site.lease("a0", f"lease-{number}")
                    served.site.first.now += 1.0
                await stream.until(lambda client: client.devices["a0"].lease_id == "lease-49")
            await lagging.until(lambda client: client.devices["a0"].lease_id == "lease-49")
        assert slow.devices == client.devices

    run(story, Served())


@pytest.mark.parametrize("resume", ["1", "epoch:", "epoch:x", ":1", "epoch:-1"])
def test_what_is_no_id_is_refused_with_what_is_expected(resume: str) -> None:
    async def story(served: Served, http: httpx.AsyncClient) -> None:
        refused = await http.get("/api/v1/watch", params={"resume": resume})
        assert refused.status_code == 400
        assert "epoch:revision" in refused.json()["detail"]

    run(story, Served())


def test_a_watch_ends_when_its_token_does_and_no_other_watch_does(tmp_path: Path) -> None:
    kept, removed, narrowed = mint("kept", Role.READ), mint("removed", Role.READ), mint("narrowed", Role.READ)
    file = tmp_path / "tokens.toml"
    file.touch(0o600)
    file.write_text("\n".join(each.line for each in (kept, removed, narrowed)))

    async def test(served: Served, http: httpx.AsyncClient) -> None:
        def open_watch(secret: str, client: Client) -> Any:
            return watching(http, client, headers={"authorization": f"Bearer {secret}"})

        clients = [Client(), Client(), Client()]
        async with (
            open_watch(kept.secret, clients[0]) as staying, open_watch(removed.secret, clients[1]) as ending,
            open_watch(narrowed.secret, clients[2]) as other,
        ):
            for stream in (staying, ending, other):
                await stream.until(listed)
            file.write_text("\n".join((kept.line, narrowed.line.replace("role", 'sites = ["elsewhere"], role'))))
            await ending.end()
            await other.end()
            told = len(clients[0].changes)
            await staying.until(lambda client: len(client.changes) > told)

    run(test, Served(bookmark_s=0.1, tokens=Tokens(file)))
