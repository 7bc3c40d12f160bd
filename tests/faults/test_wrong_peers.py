"""What else may be at the collector's address: the agent says what it found, tells it nothing, and keeps everything."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from tests.agent.certificates import Authority
from tests.e2e.programs import Collector, until
from tests.faults import impatient
from tests.faults.noticed import losses
from tests.faults.programs import QUICK, Node, Scene, dialling_at_once
from tests.faults.proxy import Fate, Proxy
from tests.faults.settled import settled
from tests.faults.table import record, row_of

pytestmark = pytest.mark.server("cc")

PAGE = b"<html>Log in to use this network</html>"
ANSWER = b"HTTP/1.1 511 Network Authentication Required\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
IDLE_S = 7.0
"""For the minute of a common proxy: what an agent sends on its own, it sends every 6 s."""


class Portal(ThreadingTCPServer):
    """A captive portal: it answers everything with a page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.heard = b""


class _Answer(BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(4096):
            assert isinstance(self.server, Portal)
            self.server.heard += data
            self.request.sendall(ANSWER % (len(PAGE), PAGE))


@contextmanager
def portal() -> Iterator[Portal]:
    with Portal() as server:
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


def told(node: Node, word: str) -> bool:
    """Whether its agent's log says so."""
    return word in node.agent.log.read_text(encoding="utf-8")


def test_a_portal_and_a_collector_with_tls_are_told_from_the_right_one(
    tmp_path: Path, nvml_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    own = authority.sign("collector")
    guarded = Collector(tmp_path / "guarded", f'tls = {{cert = "{own.cert}", key = "{own.key}"}}')
    guarded.url = guarded.url.replace("http:", "https:")
    with portal() as wrong, guarded, Proxy() as proxy:
        proxy.lead_to(wrong.address)
        scene = dialling_at_once(Scene(tmp_path, nvml_library, address=proxy.address))
        with scene:
            until(lambda: told(scene.node, "http1.x"), "the agent says what is there")
            assert scene.node.name.encode() not in wrong.heard
            tried = proxy.connections
            proxy.lead_to(guarded.grpc)
            until(lambda: proxy.connections > tried + 3, "the agent tries the collector that wants TLS")
            assert not told(scene.node, "uplink streaming")
            proxy.lead_to(scene.collector.grpc)
            until(lambda: told(scene.node, "uplink streaming"), "the agent finds its collector")
            record(row_of("portal; TLS at the collector only", 1, [settled(scene)]))


def test_an_agent_with_tls_tells_nothing_to_who_cannot_show_the_right_certificate(
    tmp_path: Path, nvml_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    known = tmp_path / "known.pem"  # to this test, which looks whether they are ready
    known.write_bytes(authority.ca.read_bytes() + stranger.ca.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(known))
    foreign = stranger.sign("foreign")
    own, node = authority.sign("collector"), authority.sign("n0")
    listens = f'tls = {{cert = "{own.cert}", key = "{own.key}", client_ca = "{authority.ca}"}}'
    asks = f'tls = {{ca = "{authority.ca}", cert = "{node.cert}", key = "{node.key}"}}'
    open_to_all = Collector(tmp_path / "open")
    of_stranger = Collector(tmp_path / "strange", f'tls = {{cert = "{foreign.cert}", key = "{foreign.key}"}}')
    of_stranger.url = of_stranger.url.replace("http:", "https:")
    with portal() as wrong, open_to_all, of_stranger, Proxy() as proxy:
        proxy.lead_to(wrong.address)
        scene = dialling_at_once(Scene(tmp_path, nvml_library, listens, pace=(*QUICK, asks), address=proxy.address))
        scene.collector.url = scene.collector.url.replace("http:", "https:")
        with scene:
            until(lambda: wrong.heard, "the agent knocks")
            until(lambda: told(scene.node, "WRONG_VERSION_NUMBER"), "the agent says that it is not TLS")
            assert scene.node.name.encode() not in wrong.heard
            for other in (open_to_all, of_stranger):
                tried = proxy.connections
                proxy.lead_to(other.grpc)
                until(lambda: proxy.connections > tried + 3, "the agent tries the wrong collector")  # noqa: B023
            assert open_to_all.node(scene.node.name) is None
            assert not told(scene.node, "uplink streaming")
            proxy.lead_to(scene.collector.grpc)
            until(lambda: told(scene.node, "uplink streaming"), "the agent finds its collector")
            record(row_of("portal, no TLS, a stranger's certificate", 1, [settled(scene)]))


def test_a_name_that_is_not_known_yet_and_then_means_another_host_is_looked_up_again(
    tmp_path: Path, nvml_library: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("a hosts file of its own needs root")
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("127.0.0.1 localhost\n")
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")  # nobody is there
    scene = Scene(tmp_path, nvml_library, pace=(*QUICK, "insecure = true"), address="127.0.0.1:1")
    port = scene.collector.grpc.rpartition(":")[2]
    scene.node.agent.also = {"FALLOW_AGENT_COLLECTOR": f"collector.fallow.test:{port}"}
    scene.node.agent.under = (
        "unshare", "--mount", "sh", "-c",
        'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"',
        str(hosts), str(resolver), sys.executable, impatient.__file__,
    )
    with scene:
        until(lambda: told(scene.node, "DNS"), "the agent says that the name is not known")
        hosts.write_text("127.0.0.1 localhost\n127.0.0.9 collector.fallow.test\n")
        until(lambda: told(scene.node, f"127.0.0.9:{port}"), "the agent says where nobody was")
        hosts.write_text("127.0.0.1 localhost\n127.0.0.1 collector.fallow.test\n")
        until(lambda: told(scene.node, "uplink streaming"), "the agent finds its collector")
        record(row_of("DNS failure, changed address", 1, [settled(scene)]))


def test_a_proxy_that_closes_what_is_idle_never_finds_an_agent_so(tmp_path: Path, nvml_library: Path) -> None:
    impatience = Fate(idle_s=IDLE_S)
    with portal() as silent, Proxy(lambda _: impatience) as proxy, Proxy(lambda _: impatience) as other:
        scene = Scene(tmp_path, nvml_library, pace=("interval_s = 10", QUICK[1]), address=proxy.address)
        proxy.lead_to(scene.collector.grpc)
        other.lead_to(silent.address)
        host, port = other.address.split(":")
        with scene:
            until(lambda: told(scene.node, "uplink streaming"), "the agent is connected")
            for times in (1, 2):
                with socket.create_connection((host, int(port)), timeout=60.0) as idle:
                    assert not idle.recv(1)
                assert other.idled == times
            assert losses(scene.node) == 0
            assert (proxy.connections, proxy.idled) == (1, 0)

