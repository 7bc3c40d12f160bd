"""Peers that hold connections without asking, on the real server: let go in time, and nobody else waits for them."""

import contextlib
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from fallow_collector.api.patience import PatientProtocol
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served

HEAD = b"POST /api/v1/inventory HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.5)


def connected(url: str) -> socket.socket:
    at = urlsplit(url)
    return socket.create_connection((at.hostname, at.port), timeout=30.0)


def dribble(peer: socket.socket, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peer.sendall(b"G")
        time.sleep(0.05)


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: 127", HEAD + b"Content-Length: 100\r\n\r\n{"])
def test_a_request_that_does_not_come_whole_ends_its_connection(said: bytes) -> None:
    with served(MemoryAnswers()) as url, connected(url) as peer:
        peer.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""


def test_one_byte_now_and_then_is_no_request_either() -> None:
    cut = (BrokenPipeError, ConnectionResetError)
    with served(MemoryAnswers()) as url, connected(url) as peer, pytest.raises(cut):
        dribble(peer, 30.0)


def test_a_connection_that_asks_again_in_time_stays() -> None:
    with served(MemoryAnswers()) as url, httpx.Client(base_url=url, trust_env=False) as http:
        ports = set()
        for _ in range(10):
            answer = http.get("/healthz")
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.1)
        assert len(ports) == 1


def test_others_are_answered_while_hundreds_wait_silently() -> None:
    with served(MemoryAnswers()) as url:
        idle = [connected(url) for _ in range(300)]
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        for peer in idle:
            peer.close()


@pytest.mark.parametrize(("request_", "status"), [
    (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * (200 << 10), b"400"),
    (HEAD + b"Content-Length: %d\r\n\r\n" % (33 << 20), b"413"),
    (HEAD.replace(b"inventory", b"devices/x/baseline/accept") + b"Content-Length: %d\r\n\r\n" % (2 << 20), b"404"),
])
def test_a_head_that_is_too_long_and_a_body_that_is_too_large_are_refused(request_: bytes, status: bytes) -> None:
    with served(MemoryAnswers()) as url, connected(url) as peer, contextlib.suppress(ConnectionResetError):
        with contextlib.suppress(BrokenPipeError):
            peer.sendall(request_)
        assert peer.recv(4096).split()[1] == status
