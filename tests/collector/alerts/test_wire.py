"""One request over a real connection, to receivers that do all that a receiver can do wrong."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fallow_collector.alerts.receivers.request import Request
from fallow_collector.alerts.wire import REPLY, Reply, Unreachable, Wire, lookup
from tests.agent.certificates import Authority, Pair
from tests.collector.alerts.sink import Flood, Manner, Sink, answer, drip, never, raw, reset

SECRET = "T0psecret"


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await case()

    asyncio.run(bounded())


def request(url: str, **headers: str) -> Request:
    return Request("POST", f"{url}/hooks/{SECRET}?key={SECRET}", headers, b'{"a":1}', ())


async def ask(
    sink: Sink, *, url: str = "", deadline_s: float = 10.0, lookup: Callable[[str], list[str]] = lookup,
    trust: ssl.SSLContext | None = None,
) -> Reply:
    wire = Wire(trust or ssl.create_default_context(), deadline_s=deadline_s, lookup=lookup)
    try:
        return await wire.ask(request(url or sink.url))
    finally:
        wire.close()


def problem_of(manner: Manner, deadline_s: float = 10.0) -> str:
    problems = []

    async def case() -> None:
        async with Sink([manner]) as sink:
            with pytest.raises(Unreachable) as unreachable:
                await ask(sink, deadline_s=deadline_s)
            problems.append(str(unreachable.value))
            assert unreachable.value.__cause__ is None

    run(case)
    assert SECRET not in problems[0]
    return problems[0]


def test_a_request_goes_out_as_it_is_and_its_reply_comes_back() -> None:
    async def case() -> None:
        async with Sink([answer(202, b"thanks", X_Some="thing")]) as sink:
            assert await ask(sink) == Reply(202, {"content-length": "6", "x-some": "thing"}, b"thanks")
            got, = sink.got
            assert got.line == f"POST /hooks/{SECRET}?key={SECRET} HTTP/1.1"
            assert got.headers["host"] == f"127.0.0.1:{sink.port}"
            assert got.headers["accept-encoding"] == "identity"
            assert got.body == b'{"a":1}'

    run(case)


def test_user_and_password_of_a_url_are_not_taken_for_its_host() -> None:
    async def case() -> None:
        async with Sink() as sink:
            await ask(sink, url=f"http://ops:p%40ss@127.0.0.1:{sink.port}")
            assert sink.got[0].headers["host"] == f"127.0.0.1:{sink.port}"

    run(case)


def test_a_receiver_that_never_answers_is_given_up_at_the_deadline() -> None:
    assert problem_of(never, 0.3) == "it did not answer in full within 0.3 s"


def test_a_receiver_that_answers_byte_by_byte_is_given_up_at_the_deadline() -> None:
    assert problem_of(drip, 0.3) == "it did not answer in full within 0.3 s"


def test_a_body_that_comes_byte_by_byte_is_given_up_at_the_deadline() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 So\r\ncontent-length: 1000000\r\n\r\n")
        await drip(reader, writer)

    assert problem_of(slow, 0.3) == "it did not answer in full within 0.3 s"


@pytest.mark.parametrize(("manner", "expected"), [
    (reset, "the connection broke"),
    (raw(b""), "it broke off, or answered what is not HTTP"),
    (raw(b"\x00\xff garbage T0psecret\r\n\r\n"), "it broke off, or answered what is not HTTP"),
    (raw(b"HTTP/1.1 200 So\r\n" + b"a: b\r\n" * 100_000), "it broke off, or answered what is not HTTP"),
    (raw(b"HTTP/1.1 200 So\r\ncontent-length: 10\r\n\r\nhalf"), "it broke off, or answered what is not HTTP"),
])
def test_garbage_and_broken_connections_are_told_in_our_own_words(manner: Manner, expected: str) -> None:
    assert problem_of(manner) == expected


def test_of_a_reply_of_ten_gibibytes_64_kibibytes_are_read() -> None:
    async def case() -> None:
        flood = Flood()
        async with Sink([flood]) as sink:
            reply = await ask(sink)
            assert len(reply.body) == REPLY
        assert flood.written < 64 * 1024 * 1024  # what fits into buffers on the way

    run(case)


def test_a_reply_that_claims_to_be_packed_is_not_unpacked() -> None:
    async def case() -> None:
        async with Sink([answer(200, b"ok", Content_Encoding="gzip")]) as sink:
            assert (await ask(sink)).body == b"ok"

    run(case)


def test_a_redirect_is_not_followed() -> None:
    async def case() -> None:
        async with Sink() as other, Sink([answer(302, Location=f"{other.url}/x")]) as sink:
            assert (await ask(sink)).status == 302
            assert other.connections == 0

    run(case)


def test_a_receiver_that_is_not_there_is_unreachable() -> None:
    async def case() -> None:
        async with Sink() as sink:
            url = sink.url
        with pytest.raises(Unreachable, match=r"^it cannot be reached: Connection refused$"):
            await ask(sink, url=url)

    run(case)


def test_proxies_of_the_environment_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case() -> None:
        async with Sink() as proxy, Sink() as sink:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
                monkeypatch.setenv(name, proxy.url)
            assert (await ask(sink)).status == 200
            assert proxy.connections == 0

    run(case)


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9.254.0251.254", "0", "[::ffff:a9fe:a9fe]"])
def test_a_metadata_service_is_never_asked(host: str) -> None:
    async def case() -> None:
        async with Sink() as sink:
            with pytest.raises(Unreachable, match="which is never asked"):
                await ask(sink, url=f"http://{host}:{sink.port}")

    run(case)


def test_a_name_is_looked_up_anew_at_each_attempt_and_never_again_on_the_way() -> None:
    """DNS rebinding: first a good address, then that of the metadata service."""
    answers = [["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]]
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async def case() -> None:
        async with Sink() as sink:
            url = f"http://hooks.example.com:{sink.port}"
            assert (await ask(sink, url=url, lookup=rebinding)).status == 200
            assert sink.got[0].headers["host"] == f"hooks.example.com:{sink.port}"
            with pytest.raises(Unreachable, match="link-local"):
                await ask(sink, url=url, lookup=rebinding)
            assert asked == ["hooks.example.com"] * 2
            assert sink.connections == 1

    run(case)


def test_the_second_address_is_asked_when_the_first_takes_no_connection() -> None:
    async def case() -> None:
        async with Sink() as sink:
            url = f"http://hooks.example.com:{sink.port}"
            assert (await ask(sink, url=url, lookup=lambda _: ["127.9.9.9", "127.0.0.1"])).status == 200

    run(case)


def test_a_request_that_was_sent_is_not_sent_to_the_second_address_too() -> None:
    async def case() -> None:
        async with Sink([reset]) as sink:
            with pytest.raises(Unreachable):
                await ask(sink, url=f"http://h:{sink.port}", lookup=lambda _: ["127.0.0.1", "::ffff:127.0.0.1"])
            assert sink.connections == 1

    run(case)


def test_a_name_without_an_address_is_said_to_be_one() -> None:
    def unknown(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def case() -> None:
        with pytest.raises(Unreachable, match=r"^the address of h cannot be found: Name or service not known$"):
            await ask(Sink(), url="http://h", lookup=unknown)
        with pytest.raises(Unreachable, match=r"^the address of x{70} cannot be found: it is no name$"):
            await ask(Sink(), url=f"http://{'x' * 70}")
        with pytest.raises(Unreachable, match=r"^h has no address$"):
            await ask(Sink(), url="http://h", lookup=lambda _: [])

    run(case)


def test_a_resolver_that_hangs_ends_with_the_deadline_and_holds_up_no_other() -> None:
    released = threading.Event()

    def hanging(host: str) -> list[str]:
        released.wait(20)
        return ["127.0.0.1"]

    async def case() -> None:
        async with Sink() as sink:
            url = f"http://hooks.example.com:{sink.port}"
            hung = asyncio.create_task(ask(sink, url=url, lookup=hanging, deadline_s=0.5))
            assert (await ask(sink)).status == 200
            with pytest.raises(Unreachable, match=r"within 0\.5 s"):
                await hung
            released.set()

    run(case)


@pytest.mark.parametrize("url", ["http://[half", "http://a b/", "http://h:99999999999999999999/", "http://xn--/"])
def test_a_url_that_is_none_is_a_problem_and_is_not_repeated(url: str) -> None:
    async def case() -> None:
        with pytest.raises(Unreachable) as unreachable:
            await ask(Sink(), url=url)
        assert SECRET not in str(unreachable.value)

    run(case)


def serving(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    return context


def test_over_tls_the_name_of_the_url_is_asked_for_and_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.ca))

    async def case() -> None:
        async with Sink(context=serving(authority.sign("hooks.example.com"))) as sink:
            url = f"https://hooks.example.com:{sink.port}"
            assert (await ask(sink, url=url, lookup=lambda _: ["127.0.0.1"], trust=trust)).status == 200
            assert sink.names == ["hooks.example.com"]
            assert sink.got[0].headers["host"] == f"hooks.example.com:{sink.port}"

    run(case)


@pytest.mark.parametrize(("name", "ends_in", "trusted", "expected"), [
    ("hooks.example.com", timedelta(days=-1), True, "certificate has expired"),
    ("other.example.com", timedelta(days=1), True, "Hostname mismatch"),
    ("hooks.example.com", timedelta(days=1), False, "unable to get local issuer certificate"),
])
def test_a_bad_certificate_is_refused_before_a_byte_is_sent(
    tmp_path: Path, name: str, ends_in: timedelta, trusted: bool, expected: str
) -> None:
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.ca) if trusted else None)

    async def case() -> None:
        async with Sink(context=serving(authority.sign(name, ends_in=ends_in))) as sink:
            url = f"https://hooks.example.com:{sink.port}"
            with pytest.raises(Unreachable, match=f"its certificate is not accepted: .*{expected}"):
                await ask(sink, url=url, lookup=lambda _: ["127.0.0.1"], trust=trust)
            assert sink.got == []

    run(case)


def test_what_speaks_no_tls_is_not_spoken_to_without_it() -> None:
    async def case() -> None:
        async with Sink() as sink:
            with pytest.raises(Unreachable):
                await ask(sink, url=f"https://127.0.0.1:{sink.port}", deadline_s=1.0)
            assert sink.got == []

    run(case)


def test_a_handshake_that_never_ends_leaves_no_connection_open() -> None:
    async def case() -> None:
        async with Sink() as sink:
            url = f"https://hooks.example.com:{sink.port}"
            with pytest.raises(Unreachable, match="no connection could be made in time"):
                await ask(sink, url=url, lookup=lambda _: ["127.0.0.1"], deadline_s=3.0)
            await sink.left_alone()
            assert sink.connections == 1

    run(case)


def test_ipv6_is_asked_by_its_address() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    async def case() -> None:
        async with Sink(host="::1") as sink:
            assert (await ask(sink)).status == 200
            assert sink.got[0].headers["host"] == f"[::1]:{sink.port}"

    run(case)
