"""Peers of the agents' port that abuse TCP and HTTP/2: an agent beside them is served as if they were not there."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fallow_collector.ingest.server import SERVICE
from tests.collector.ingest.builders import hello, layout, report, reports
from tests.collector.program import PATIENCE_S, Agent, Program, running
from tests.faults.table import Row, cycles, record

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, PING = 1, 3, 4, 6
SILENCE_S = 25.0
"""A handshake has 10 s; the rest is for a machine that does much beside."""

LIFE_S = cycles(60, 1_800)
"""A round takes about a second."""

END_HEADERS, CANCEL = 4, b"\x00\x00\x00\x08"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that HPACK's table need not know."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


CALL = b"\x83\x86" + literal(b":path", f"/{SERVICE}/Stream".encode()) + literal(b":authority", b"collector") + literal(
    b"content-type", b"application/grpc"
) + literal(b"te", b"trailers")


def rapid_reset(many: int) -> bytes:
    """CVE-2023-44487: calls that are begun and taken back at once."""
    return PREFACE + frame(SETTINGS, 0, 0, b"") + b"".join(
        frame(HEADERS, END_HEADERS, stream, CALL) + frame(RST_STREAM, 0, stream, CANCEL)
        for stream in range(1, 2 * many, 2)
    )


def pings(many: int) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, b"12345678") * many


def settings(many: int) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0, b"") * many


ABUSES: dict[str, Callable[[int], bytes]] = {
    "rapid reset": rapid_reset, "pings": pings, "settings": settings,
    "no HTTP/2": lambda many: b"GET / HTTP/1.1\r\n" * many,
}


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


class Honest:
    """An agent that waits for each of its reports to be stored."""

    def __init__(self, program: Program) -> None:
        self.agent = Agent(program.grpc, life_s=LIFE_S)
        self.number = 0
        self.agent.say(hello("honest"), layout("honest"))
        self.agent.hear("welcome")

    def reports(self) -> float:
        """How long it took."""
        began, self.number = time.monotonic(), self.number + 1
        self.agent.say(reports(report(self.number, time_ms=time.time_ns() // 1_000_000), node="honest"))
        self.agent.hear("ack")
        return time.monotonic() - began


@pytest.mark.parametrize("abuse", ABUSES)
def test_a_flood_of_frames_ends_or_is_served_and_an_agent_beside_goes_on(tmp_path: Path, abuse: str) -> None:
    rounds, sent = cycles(3, 100), 0
    with running(Program(tmp_path / "collector")) as program:
        honest = Honest(program)
        honest.reports()
        slowest = 0.0
        for _ in range(rounds):
            with connected(program.grpc) as peer, contextlib.suppress(ConnectionError):
                peer.sendall(ABUSES[abuse](5_000))
                sent += 1
            slowest = max(slowest, honest.reports())
        assert program.process.poll() is None
        honest.agent.close()
        assert "BUG" not in program.log.read_text()
    record(Row(f"HTTP/2: {abuse}", rounds, made=honest.number, stored=honest.number, lost=0, doubled=0,
               recovery_s=slowest))


@pytest.mark.parametrize("port", ["grpc", "http"])
def test_silent_connections_are_cut_in_seconds_and_who_speaks_beside_is_heard(tmp_path: Path, port: str) -> None:
    many = cycles(600, 2_000)
    with running(Program(tmp_path / "collector")) as program:
        honest = Honest(program)
        silent = [connected(getattr(program, port)) for _ in range(many)]
        slowest = honest.reports()
        assert program.get("/api/v1/capacity").status_code == 200
        for peer in silent:
            peer.settimeout(SILENCE_S)
            with peer, contextlib.suppress(ConnectionResetError):
                while peer.recv(4096):  # the server's own settings come first
                    pass
        slowest = max(slowest, honest.reports())
        honest.agent.close()
    record(Row(f"silent connections, {port}", many, made=honest.number, stored=honest.number, lost=0, doubled=0,
               recovery_s=slowest))
