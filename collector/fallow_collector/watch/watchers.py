"""Those who watch, each with a stream of its own that goes as fast as its reader takes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from weakref import WeakSet

from fallow_collector.api.answers import Unavailable, Where
from fallow_collector.watch.feed import Feed, Watcher

LIMIT = 256  # half of the connections that the HTTP server takes
LIMIT_OF_ONE = 64  # with one token
BOOKMARK_S = 10.0
ANOTHER_EPOCH = -1  # a revision that no log covers


class _Seat:
    """Held by a stream, which may be dropped before it has begun."""

    def __init__(self, who: str) -> None:
        self.who = who


class Watchers:
    """Implements api.watch.Watches."""

    def __init__(self, feed: Feed, bookmark_s: float = BOOKMARK_S, limit: int = LIMIT) -> None:
        self._feed = feed
        self._bookmark_s = bookmark_s
        self._limit = limit
        self._seats: WeakSet[_Seat] = WeakSet()
        self._closed = False
        self._news = asyncio.Event()  # of this moment; the next one has another
        feed.view.follow(lambda snapshot: self._wake() if len(snapshot.changed) else None)

    def __len__(self) -> int:
        return len(self._seats)

    def close(self) -> None:
        """Every stream ends, and no new one begins."""
        self._closed = True
        self._wake()

    def join(self, where: Where, resume: tuple[str, int] | None, who: str = "") -> AsyncIterator[bytes]:
        """Server-sent events: a list and then changes or, after an epoch's revision, changes. who: the token's name.
        Raises Unavailable."""
        if self._closed:
            raise Unavailable("the collector is stopping; watch again when it has started")
        if len(self) >= self._limit:
            raise Unavailable(f"{len(self)} watches are open, and no more are served; end some, or ask again later")
        if who and (his := sum(seat.who == who for seat in self._seats)) >= LIMIT_OF_ONE:
            raise Unavailable(f"token {who} has {his} watches open, and gets no more; end some, or ask again later")
        seat = _Seat(who)
        self._seats.add(seat)
        return self._stream(Watcher(self._feed, where, self._revision(resume)), seat)

    def _revision(self, resume: tuple[str, int] | None) -> int | None:
        if resume is None:
            return None
        epoch, revision = resume
        return revision if epoch == self._feed.view.epoch else ANOTHER_EPOCH

    async def _stream(self, watcher: Watcher, seat: _Seat) -> AsyncIterator[bytes]:
        loop, due = asyncio.get_running_loop(), 0.0
        try:
            while not (self._closed or watcher.lost):
                news = self._news  # before the log is read: what comes later wakes us
                for chunk in watcher.news():
                    if self._closed:
                        return  # the rest of a long list is of no use to anybody
                    yield chunk
                    await asyncio.sleep(0)
                if loop.time() >= due:
                    yield watcher.bookmark(self._feed.view.now())
                    due = loop.time() + self._bookmark_s
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await news.wait()
            if not self._closed:
                yield watcher.resync()
        finally:
            self._seats.discard(seat)
            if not self._seats:
                self._feed.encoder.forget()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
