import asyncio
import signal
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fallow_client import Client, Unreachable
from fallow_collector.api.answers import Asked
from fallow_collector.api.app import make_app
from fallow_collector.api.server import GRACE_S, HttpServer, bind
from fallow_proto import api
from fallow_proto.settings import SettingsError
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served

HOST = "CPU-gpu-01"


def app(answers: MemoryAnswers | None = None):  # type: ignore[no-untyped-def]
    return make_app(answers or MemoryAnswers(), None, "0.0.0")


@pytest.mark.parametrize("listen", ["", "4918", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(SettingsError, match="expected host:port"):
        asyncio.run(HttpServer(app(), listen).start())


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}.*in use.*a port that nothing else has"):
            asyncio.run(HttpServer(app(), f"127.0.0.1:{port}").start())


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match="an address of this machine"):
        asyncio.run(HttpServer(app(), "203.0.113.9:0").start())


def test_answers_are_not_held_back_until_their_head_is_acknowledged() -> None:
    with bind("127.0.0.1:0") as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_listens_on_ipv6_too() -> None:
    async def address() -> str:
        server = HttpServer(app(), "[::1]:0")
        found = await server.start()
        await server.stop()
        return found

    assert asyncio.run(address()).startswith("[::1]:")


def test_a_missing_or_wrong_certificate_is_refused_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[tls\] cert = .*cannot be used"):
        HttpServer(app(), "127.0.0.1:0", str(tmp_path / "none.pem"), str(tmp_path / "none.key"))
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    with pytest.raises(SettingsError, match="expected a certificate and its key"):
        HttpServer(app(), "127.0.0.1:0", str(garbage), str(garbage))


def test_the_collectors_signals_stay_its_own() -> None:
    async def handlers_while_serving() -> tuple[object, object]:
        server = HttpServer(app(), "127.0.0.1:0")
        await server.start()
        found = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        await server.stop()
        return found

    before = signal.getsignal(signal.SIGTERM)
    during_term, during_int = asyncio.run(handlers_while_serving())
    assert during_term == before
    assert "uvicorn" not in repr(during_int)


def test_it_speaks_tls_and_nothing_else_when_it_has_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = self_signed(tmp_path)
    with served(MemoryAnswers(), cert=cert, key=key) as url:
        trust = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(base_url=url, verify=trust, trust_env=False) as http:
            assert http.get("/healthz").text == "ok\n"
        with Client(url) as stranger, pytest.raises(Unreachable, match="certificate verify failed"):
            stranger.capacity()
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        with Client(url) as client:
            assert client.capacity().revision == 42
        with Client(url.replace("https", "http")) as plain, pytest.raises(Unreachable):
            plain.capacity()


class SlowStore(MemoryAnswers):
    """A store that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for = threading.Event()
        self.let = threading.Event()

    def history(self, asked: Asked) -> api.History:
        self.asked_for.set()
        self.let.wait(30)
        return super().history(asked)


def test_a_slow_store_holds_up_nobody_else() -> None:
    answers = SlowStore()
    with served(answers) as url, httpx.Client(base_url=url, trust_env=False) as http:
        waiting = threading.Thread(
            target=httpx.get, args=(f"{url}/api/v1/history?uuid={HOST}&columns=processes",),
            kwargs={"timeout": 60, "trust_env": False},
        )
        waiting.start()
        assert answers.asked_for.wait(20)
        assert http.get("/api/v1/capacity").status_code == 200
        answers.let.set()
        waiting.join(20)
        assert len(answers.asked) == 1


def test_stopping_does_not_wait_for_a_store_that_never_answers() -> None:
    answers = SlowStore()

    async def stop_while_asked() -> None:
        server = HttpServer(app(answers), "127.0.0.1:0")
        address = await server.start()
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
            asking = asyncio.create_task(http.get("/api/v1/history", params={"uuid": HOST, "columns": "processes"}))
            await asyncio.to_thread(answers.asked_for.wait, 20)
            await server.stop()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    try:
        asyncio.run(asyncio.wait_for(stop_while_asked(), 20 + GRACE_S))
    finally:
        answers.let.set()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "collector")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))
    return cert_file, key_file
