"""Serving the API inside the collector's own loop, which keeps its signals and its logging."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from litestar.types import ASGIApp

from fallow_collector.api.crowd import Crowd
from fallow_collector.api.patience import HEAD_BYTES, HEAD_S, TAKE_S, PatientProtocol, Waiting
from fallow_proto.settings import SettingsError

GRACE_S = 3
BACKLOG = 512


class HttpServer:
    """One listening socket and what answers on it: start(), then wait() or stop()."""

    def __init__(self, app: ASGIApp, listen: str, cert: str = "", key: str = "") -> None:
        """`listen` is host:port, port 0 for any; with `cert` and `key`, files in PEM, it speaks TLS only.

        Raises SettingsError.
        """
        self._listen = listen
        config = uvicorn.Config(
            Crowd(app),
            lifespan="on", ws="none", log_config=None, access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=GRACE_S, http=PatientProtocol, h11_max_incomplete_event_size=HEAD_BYTES,
            ssl_certfile=cert or None, ssl_keyfile=key or None,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"[tls] cert = {cert!r}, key = {key!r}: cannot be used: {error}; "
                f"expected a certificate and its key in PEM"
            ) from error
        self._config = config
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen and answer; says where, as host:port. Raises SettingsError."""
        bound = bind(self._listen)
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="http")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await self._task  # raises what went wrong
        host, port = bound.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def reload(self) -> None:
        """Show what the files of the certificate hold now to whoever connects from here on. Raises OSError."""
        if self._config.ssl is not None and self._config.ssl_certfile:
            self._config.ssl.load_cert_chain(self._config.ssl_certfile, self._config.ssl_keyfile)

    async def wait(self) -> None:
        """Return when the server has ended; raises what ended it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Answer what was asked, for at most GRACE_S seconds, and end."""
        self._server.should_exit = True
        await self.wait()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM is the collector's: it stops the stages in its own order."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which gives a handshake of TLS the minute that asyncio does."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("BUG: the API has not started; the log says why")
        waiting: Waiting = {}
        encrypted = self.config.ssl is not None
        self.servers = [
            await asyncio.get_running_loop().create_server(
                lambda: PatientProtocol(
                    config=self.config, server_state=self.server_state, app_state=self.lifespan.state, waiting=waiting
                ),
                sock=each, ssl=self.config.ssl, ssl_handshake_timeout=HEAD_S if encrypted else None,
                ssl_shutdown_timeout=TAKE_S if encrypted else None, backlog=BACKLOG,
            ) for each in sockets or ()
        ]
        self.started = True
        self.listening.set()


def bind(listen: str) -> socket.socket:
    """A listening socket whose connections send without waiting. Raises SettingsError."""
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"[http] listen = {listen!r}: expected host:port, such as 127.0.0.1:4918 or [::]:4918")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"[http] listen = {listen!r}: cannot listen there: {error.strerror or error}; "
            f"expected an address of this machine and a port that nothing else has"
        ) from error
    # Connections inherit it. asyncio sets it only on sockets made with an explicit protocol number, which this one is
    # not, and without it every answer waits 40 ms for the acknowledgement of its own head.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
