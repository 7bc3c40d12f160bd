"""The InfluxDB 2 write API in front of InfluxDB 1.6.7, so that a real InfluxDB engine judges what is written.

POST /api/v2/write?bucket=B&precision=P becomes POST /write?db=B&precision=P; a wrong token is a 401; errors take the
shape {"code", "message"}. /ping is the engine's own.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx

TOKEN = "shim-token"
_CODES = {400: "invalid", 401: "unauthorized", 404: "not found"}


@contextmanager
def shim(engine_url: str) -> Iterator[str]:
    """The URL of a shim in front of the engine."""
    http = httpx.Client(timeout=20, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = http.get(engine_url + self.path)
            self._send(answer.status_code, answer.content, answer.headers.get("X-Influxdb-Version", ""))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = urlsplit(self.path)
            if asked.path != "/api/v2/write":
                return self._error(404, "path not found")
            if self.headers.get("Authorization") != f"Token {TOKEN}":
                return self._error(401, "unauthorized access")
            given = {key: values[0] for key, values in parse_qs(asked.query).items()}
            answer = http.post(
                f"{engine_url}/write", params={"db": given["bucket"], "precision": given["precision"]}, content=body
            )
            if answer.status_code == 204:
                return self._send(204, b"", answer.headers["X-Influxdb-Version"])
            return self._error(answer.status_code, answer.json()["error"])

        def _error(self, status: int, message: str) -> None:
            text = json.dumps({"code": _CODES.get(status, "internal error"), "message": message})
            self._send(status, text.encode(), "")

        def _send(self, status: int, data: bytes, version: str) -> None:
            self.send_response(status)
            if version:
                self.send_header("X-Influxdb-Version", version)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        http.close()
