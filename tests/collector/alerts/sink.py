"""A receiver on loopback that does as scripted: a real HTTP server, down to the misbehaviour of one."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

Manner = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Got:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Sink:
    """script: what it does with each request, the last for ever. got: what it was sent. names: what TLS clients asked
    for."""

    script: Sequence[Manner] = ()
    context: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    got: list[Got] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    connections: int = 0
    busiest: int = 0

    async def __aenter__(self) -> "Sink":
        if self.context is not None:
            self.context.sni_callback = lambda _, name, __: self.names.append(name)
        self._open: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.context else ''}://{host}:{self.port}"

    async def left_alone(self) -> None:
        """Until nobody is connected."""
        while self._open:
            await asyncio.wait(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        self.busiest = max(self.busiest, len(self._open))
        try:
            self.got.append(await _read(reader))
            await (self.script or (answer(200),))[min(len(self.got), len(self.script) or 1) - 1](reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Got(head[0], headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def answer(status: int, body: bytes = b"", **headers: str) -> Manner:
    """headers: with _ for -."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return raw(f"HTTP/1.1 {status} So\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body)


def raw(data: bytes) -> Manner:
    async def manner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return manner


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RST, not FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte at a time, for ever."""
    while True:
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.05)


class Flood:
    """A reply without an end."""

    def __init__(self) -> None:
        self.written = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 So\r\ncontent-length: 10737418240\r\n\r\n")
        while True:
            writer.write(bytes(64 * 1024))
            self.written += 64 * 1024
            await writer.drain()
