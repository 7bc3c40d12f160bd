"""A server that speaks as much of the InfluxDB 2 API as a client sees of it, and misbehaves on demand."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Reply(NamedTuple):
    status: int = 204
    text: str = ""
    headers: Mapping[str, str] = {}


class Hang(NamedTuple):
    """No answer until the test is over."""


class Garbage(NamedTuple):
    """What is not HTTP."""

    data: bytes = b"\x00\x01\x02 this is not HTTP\r\n\r\n"


class Endless(NamedTuple):
    """An answer with a body of a gigabyte: `part` again and again, every pause_s."""

    status: int
    part: bytes
    pause_s: float = 0.0


class Taken(NamedTuple):
    """It is stored, and no answer comes until the test is over."""


Behaviour = Reply | Hang | Garbage | Endless | Taken
INFLUXDB = Reply(204, headers={"X-Influxdb-Version": "v2.7.1", "X-Influxdb-Build": "OSS"})
NOT_FOUND = Reply(404)


@dataclass
class FakeInflux:
    """on_write decides about each body; what was answered with 204 is in `stored`, as lines."""

    url: str = ""
    on_write: Callable[[bytes], Behaviour] = lambda _: Reply()
    on_query: Callable[[dict[str, object]], Behaviour] = lambda _: Reply(200)
    ping: Behaviour = INFLUXDB
    metrics: Behaviour = NOT_FOUND
    stored: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path with query, and the Authorization header."""
    sent: int = 0
    """Bytes of endless bodies."""
    over: threading.Event = field(default_factory=threading.Event)


def pretends_victoriametrics(fake: FakeInflux, start: int) -> None:
    fake.ping = Reply(204, headers={"X-Server-Hostname": "vm"})
    fake.metrics = Reply(200, f'vm_app_version{{version=""}} 1\nprocess_start_time_seconds {start}\n')


@contextmanager
def serving(port: int = 0) -> Iterator[FakeInflux]:
    fake = FakeInflux()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fake.requests.append((self.path, self.headers.get("Authorization")))
            path = self.path.partition("?")[0]
            self._do({"/ping": fake.ping, "/metrics": fake.metrics}.get(path, NOT_FOUND))

        def do_POST(self) -> None:
            fake.requests.append((self.path, self.headers.get("Authorization")))
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            match self.path.partition("?")[0]:
                case "/api/v2/write":
                    fake.bodies.append(body)
                    reply = fake.on_write(body)
                    if isinstance(reply, Taken) or (isinstance(reply, Reply) and reply.status == 204):
                        fake.stored += body.splitlines()
                    self._do(reply)
                case "/api/v2/query":
                    self._do(fake.on_query(json.loads(body)))
                case _:
                    self._do(Reply(404, f"no such path: {self.path}"))

        def _do(self, behaviour: Behaviour) -> None:
            match behaviour:
                case Endless(status, part, pause_s):
                    self.send_response(status)
                    self.send_header("Content-Length", str(2**30))
                    self.end_headers()
                    self.close_connection = True
                    with suppress(OSError):  # the client has had enough
                        while fake.sent < 2**30 and not fake.over.wait(pause_s):
                            self.wfile.write(part)
                            fake.sent += len(part)
                case Hang() | Taken():
                    fake.over.wait(30)
                    self.close_connection = True
                case Garbage(data):
                    self.wfile.write(data)
                    self.close_connection = True
                case Reply(status, text, headers):
                    data = text.encode()
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if status != 204:
                        self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
