"""A receiver of alerts as a real HTTP server on loopback."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Told(NamedTuple):
    identity: str  # webhook-id, empty if there is none
    status: int  # that was answered
    message: dict[str, Any]


@dataclass
class Hook:
    """A context manager. status: what it answers. answer_s: how long it takes to. hangs: it answers nothing until the
    end. begun: requests that came. told: those that were answered, as they came."""

    status: int = 200
    answer_s: float = 0.0
    hangs: bool = False
    begun: int = 0
    told: list[Told] = field(default_factory=list)
    url: str = ""

    def accepted(self) -> list[dict[str, Any]]:
        return [message for _, status, message in self.told if status == 200]

    def alerts(self) -> list[tuple[str, str, list[str]]]:
        """Of each message that was accepted: the rule, its status, the nodes."""
        return [
            (message["commonLabels"]["alertname"], message["status"],
             sorted(alert["labels"]["node"] for alert in message["alerts"]))
            for message in self.accepted()
        ]

    def standing(self) -> dict[str, str]:
        """By node, the status that was told last."""
        return {
            alert["labels"]["node"]: alert["status"] for message in self.accepted() for alert in message["alerts"]
        }

    def __enter__(self) -> Self:
        hook, self._ended = self, threading.Event()

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.begun += 1
                if hook._ended.wait(None if hook.hangs else hook.answer_s):
                    return
                hook.told.append(Told(self.headers["webhook-id"] or "", hook.status, json.loads(body)))
                try:
                    self.send_response(hook.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    return  # whoever asked was killed

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
