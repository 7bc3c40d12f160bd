"""A TCP proxy that does to connections what bad networks do. It runs in a thread of its own, on loopback."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from random import Random
from threading import Thread
from types import TracebackType
from typing import NamedTuple, Self

CHUNK = 65_536
UNDER_WAY = 16
"""Chunks that are taken and not delivered yet, at most: a wire holds so much and no more."""

RESET_AFTER_S = 0.002
"""A RST right behind the last data can go unnoticed in gRPC 1.85 until it writes again: seen with the agent's options,
where only the next ping, seconds later, found the connection gone. A sweep does not have those seconds."""


class Cut(Enum):
    RESET = auto()  # both ends get a RST
    CLOSE = auto()  # both ends get a FIN
    HALF = auto()  # the receiver gets a FIN; the sender gets nothing, and what it sends on is lost


@dataclass(frozen=True, slots=True)
class Way:
    """What happens to bytes in one direction.

    cut_at, flip_at: so many bytes of this direction pass, then it is cut, or one byte has its lowest bit turned.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0  # at most so much more
    bytes_per_s: float = inf
    chunk: int = CHUNK
    is_paused: bool = False  # nothing is taken, so the sender's buffers fill
    is_black_hole: bool = False  # everything is taken, and lost
    flip_at: int | None = None
    cut_at: int | None = None
    cut: Cut = Cut.RESET


CLEAR = Way()


class Fate(NamedTuple):
    """What happens to a connection. up: to where it was meant to go. idle_s: it is closed when nothing passed so long.
    """

    up: Way = CLEAR
    down: Way = CLEAR
    idle_s: float = inf


GOOD = Fate()


class Proxy:
    """As a context manager it runs inside the block. Attributes may be read from any thread, and are set by methods.

    fate_of: by the number of the connection, from 0 on. lead_to: told before the first comes.
    """

    def __init__(self, fate_of: Callable[[int], Fate] = lambda _: GOOD) -> None:
        self._to = ""
        self._fate_of = fate_of
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxy")
        self._chance = Random(1)
        self._live: set[_Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.address = ""
        self.connections = 0
        self.cuts: list[int] = []
        """Numbers of the connections that were cut."""
        self.flips = 0
        self.idled = 0
        self.passed = 0
        """Bytes, both ways."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lead_to(self, address: str) -> None:
        """host:port that connections go to."""
        self._to = address

    def become(self, fate: Fate) -> None:
        """All connections, those that there are and those to come."""
        def change() -> None:
            self._fate_of = lambda _: fate
            for connection in self._live:
                connection.fate = fate
                connection.changed.set()
        self._loop.call_soon_threadsafe(change)

    async def _listen(self) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving = asyncio.create_task(self._serve(reader, writer))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

        return await asyncio.start_server(accept, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        for connection in self._live:
            connection.reset()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._to.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            _reset(writer)
            return
        number, self.connections = self.connections, self.connections + 1
        connection = _Connection(self, number, self._fate_of(number), (writer, far_writer))
        self._live.add(connection)
        try:
            await connection.run(reader, far_reader)
        finally:
            self._live.discard(connection)

    def jitter(self, way: Way) -> float:
        return way.latency_s + self._chance.uniform(0.0, way.jitter_s)


class _Connection:
    def __init__(
        self, proxy: Proxy, number: int, fate: Fate, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ) -> None:
        self.fate = fate
        self.changed = asyncio.Event()
        self._proxy = proxy
        self._number = number
        self._near, self._far = ends
        self._passed_at = asyncio.get_running_loop().time()

    async def run(self, near: asyncio.StreamReader, far: asyncio.StreamReader) -> None:
        carrying = asyncio.create_task(self._carry_both(near, far))
        idle = asyncio.create_task(self._watch())
        await asyncio.wait([carrying, idle], return_when=asyncio.FIRST_COMPLETED)
        for task in (carrying, idle):
            task.cancel()
        for end in (self._near, self._far):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def _carry_both(self, near: asyncio.StreamReader, far: asyncio.StreamReader) -> None:
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry(near, self._far, lambda: self.fate.up))
                ways.create_task(self._carry(far, self._near, lambda: self.fate.down))

    def reset(self) -> None:
        for end in (self._near, self._far):
            _reset(end)

    async def _watch(self) -> None:
        """Ends when nothing has passed for long enough."""
        loop = asyncio.get_running_loop()
        while (left_s := self._passed_at + self.fate.idle_s - loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news(), min(left_s, 3600.0))
        self._proxy.idled += 1

    async def _news(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way_now: Callable[[], Way]
    ) -> None:
        """Raises _Over when the whole connection is to end."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
        delivery = asyncio.create_task(self._deliver(due, writer))
        try:
            await self._take(reader, due, way_now)
            await due.join()
            if way_now().cut is Cut.HALF:
                while await reader.read(CHUNK):
                    pass
        except _Over:
            await due.join()
            if way_now().cut is Cut.RESET:
                await asyncio.sleep(RESET_AFTER_S)
                self.reset()
            raise
        except OSError:
            self.reset()
            raise _Over from None
        finally:
            delivery.cancel()

    async def _take(
        self, reader: asyncio.StreamReader, due: asyncio.Queue[tuple[float, bytes]], way_now: Callable[[], Way]
    ) -> None:
        loop = asyncio.get_running_loop()
        taken = 0
        while True:
            while way_now().is_paused:
                await self._news()
            data = await reader.read(way_now().chunk)
            while way_now().is_paused:  # since this was asked for
                await self._news()
            way = way_now()
            if way.is_black_hole and data:
                continue
            if way.flip_at is not None and taken <= way.flip_at < taken + len(data):
                at = way.flip_at - taken
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                self._proxy.flips += 1
            is_cut = way.cut_at is not None and taken + len(data) > way.cut_at
            if is_cut and way.cut_at is not None:
                data = data[: way.cut_at - taken]
            if way.bytes_per_s < inf:
                await asyncio.sleep(len(data) / way.bytes_per_s)
            taken += len(data)
            self._proxy.passed += len(data)
            self._passed_at = loop.time()
            await due.put((loop.time() + self._proxy.jitter(way), data))
            if is_cut:
                self._proxy.cuts.append(self._number)
                if way.cut is Cut.HALF:
                    await due.put((loop.time(), b""))
                    return
                raise _Over
            if not data:
                return

    async def _deliver(self, due: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, data = await due.get()
            await asyncio.sleep(max(0.0, at - loop.time()))
            with suppress(OSError):  # the taking side notices, too
                if writer.is_closing():
                    pass
                elif data:
                    writer.write(data)
                    await writer.drain()
                elif writer.can_write_eof():
                    writer.write_eof()
            due.task_done()


class _Over(Exception):
    """The connection ends."""


def _reset(end: asyncio.StreamWriter) -> None:
    """A RST instead of a FIN, without what is still to be sent."""
    sock: socket.socket | None = end.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()
