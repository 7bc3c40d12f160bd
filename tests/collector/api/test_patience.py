"""Peers that hold connections without asking, on the real server: let go in time, and nobody else waits for them."""

import asyncio
import contextlib
import resource
import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from fallow_client.commands.token import mint
from fallow_collector.api.crowd import REQUESTS, STRANGERS, Crowd
from fallow_collector.api.enroll import Office
from fallow_collector.api.gate import AT_ONCE
from fallow_collector.api.patience import PatientProtocol
from fallow_collector.api.tokens import Role, Tokens
from fallow_proto.enrolment import PATH
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served, serving
from tests.collector.ingest.certificates import Authority

LONG = 64 << 20
HEAD = b"POST /api/v1/inventory HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_s", 0.3)
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.6)


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


def test_others_are_answered_while_more_wait_silently_than_requests_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_s", 30.0)
    many = REQUESTS + 50
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * many)), hard))
    with served(MemoryAnswers()) as url, contextlib.ExitStack() as silent:
        for _ in range(many):
            silent.enter_context(connected(url))
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


async def _long_answer(scope: Any, receive: Any, send: Any) -> None:
    """More than the kernel takes off an application's hands."""
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LONG)]})
    await send({"type": "http.response.body", "body": bytes(LONG), "more_body": False})


def asked(url: str, ca: bytes) -> socket.socket:
    """A connection over which everything is asked for and nothing taken yet."""
    peer = connected(url)
    if url.startswith("https"):
        peer = ssl.create_default_context(cadata=ca.decode()).wrap_socket(peer, server_hostname="localhost")
    peer.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return peer


def taken(peer: socket.socket) -> int:
    """Bytes, to the end."""
    total = 0
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while piece := peer.recv(1 << 20):
            total += len(piece)
    return total


@pytest.mark.parametrize("encrypted", [False, True])
def test_who_takes_an_answer_slowly_gets_it_whole_and_who_takes_nothing_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    authority = Authority()
    made = authority.issue("localhost", names=("localhost",))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.certificate)
    key.write_bytes(made.key)
    with serving(lambda: _long_answer, *((cert, key) if encrypted else ())) as url:
        with asked(url, authority.pem) as slow:
            time.sleep(3.0)  # longer than anybody may wait who asks for nothing
            assert taken(slow) > LONG
        monkeypatch.setattr(PatientProtocol, "take_s", 0.3)
        with asked(url, authority.pem) as stalled:
            time.sleep(3.0)
            assert taken(stalled) < LONG


def test_strangers_who_send_slowly_keep_only_strangers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 60.0)
    slow = b"POST //api/v1/enroll HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\n{"
    with served(MemoryAnswers(), enrolment=Office(lambda: None)) as url, contextlib.ExitStack() as strangers:
        for _ in range(STRANGERS):
            strangers.enter_context(connected(url)).sendall(slow)
        deadline = time.monotonic() + 30.0
        while (enrolment := httpx.get(f"{url}{PATH}", trust_env=False)).status_code != 503:
            assert time.monotonic() < deadline
        assert f"{STRANGERS} requests are being answered" in enrolment.json()["detail"]
        for path in ("/healthz", "/api/v1/capacity"):
            assert httpx.get(f"{url}{path}", trust_env=False).status_code == 200


def test_who_asks_slowly_with_a_token_keeps_nobody_else_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 60.0)
    slow, quick = mint("slow", Role.READ), mint("quick", Role.READ)
    file = tmp_path / "tokens.toml"
    file.touch(0o600)
    file.write_text(f"{slow.line}\n{quick.line}")
    request = HEAD.replace(b"inventory", b"fit") + (
        f"Authorization: Bearer {slow.secret}\r\nContent-Length: 500\r\n\r\n{{".encode()
    )
    with served(MemoryAnswers(), Tokens(file), fit=None) as url, contextlib.ExitStack() as peers:

        def status(secret: str) -> int:
            headers = {"authorization": f"Bearer {secret}"}
            return httpx.get(f"{url}/api/v1/capacity", headers=headers, trust_env=False).status_code

        for _ in range(AT_ONCE):
            peers.enter_context(connected(url)).sendall(request)
        deadline = time.monotonic() + 30.0
        while status(slow.secret) != 503:
            assert time.monotonic() < deadline
        assert status(quick.secret) == 200


def test_of_too_many_that_wait_the_one_that_has_waited_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_s", 30.0)
    monkeypatch.setattr(PatientProtocol, "most_waiting", 2)
    with served(MemoryAnswers()) as url, connected(url) as first, connected(url) as second, connected(url) as third:
        with contextlib.suppress(ConnectionResetError):
            assert first.recv(1) == b""
        for peer in (second, third):
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert peer.recv(4096).split()[1] == b"200"


def test_a_peer_that_never_begins_tls_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fallow_collector.api.server.HEAD_S", 0.3)
    made = Authority().issue("localhost", names=("localhost",))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.certificate)
    key.write_bytes(made.key)
    cut = contextlib.suppress(ConnectionResetError)
    with served(MemoryAnswers(), cert=cert, key=key) as url, connected(url) as peer, cut:
        assert peer.recv(1) == b""


def test_requests_beyond_as_many_as_are_answered_at_once_are_told_to_ask_again() -> None:
    async def crowd() -> list[Any]:
        free, said = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await free.wait()

        async def hear(message: Any) -> None:
            said.append(message)

        crowded = Crowd(app, most=1)
        scope: Any = {"type": "http", "path": "/"}
        running = asyncio.create_task(crowded(scope, hear, hear))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await crowded(scope, hear, hear)  # type: ignore[arg-type]
        free.set()
        await running
        await crowded(scope, hear, hear)  # type: ignore[arg-type]
        return said

    start, body = asyncio.run(crowd())
    assert start["status"] == 503
    assert b"1 requests are being answered" in body["body"]


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
