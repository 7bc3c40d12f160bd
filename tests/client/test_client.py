import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fallow_client import AsyncClient, Client, FallowError, Malformed, Refused, Unreachable, Where
from fallow_client.commands.token import mint
from fallow_client.connection import is_overheard
from fallow_collector.api.tokens import Tokens
from fallow_proto import api
from tests.collector.api.memory import MemoryAnswers, device
from tests.collector.api.served import served

BUSY = "GPU-60c0ffee-1111-2222-3333-444444444446"


def test_answers_come_as_the_structs_of_the_api(url: str, answers: MemoryAnswers) -> None:
    with Client(url) as fallow:
        assert fallow.capacity() == answers.capacity(Where())  # type: ignore[arg-type]  # the same fields
        assert fallow.device(BUSY) == answers.device(BUSY)
        assert fallow.explain(BUSY) == answers.explain(BUSY)
        assert fallow.timeline(BUSY, start="-2h", limit=2) == answers.timeline(BUSY, 0.0, 0.0, 2)
        assert fallow.nodes().items == answers.nodes(Where(), 1000, None).items  # type: ignore[arg-type]
        assert list(fallow.all_devices()) == answers.members
        busy = fallow.devices(Where(phase=("unmanaged",))).items[0]
        assert (busy.uuid, busy.power_watts, busy.memory_temperature_celsius) == (BUSY, 655.0, None)


def test_filters_are_sent(url: str) -> None:
    with Client(url) as fallow:
        where = Where(site=("north",), vendor=("nvidia", "huawei"), device_class=("intelligent",))
        assert {group.vendor for group in fallow.capacity(where).groups} == {"nvidia", "huawei"}
        assert [one.node for one in fallow.nodes(Where(node=("cpu-01",))).items] == ["cpu-01"]
        page = fallow.devices(Where(vendor=("huawei",)), limit=3)
        assert page.next == page.items[-1].uuid
        assert len(fallow.devices(Where(vendor=("huawei",)), cursor=page.next).items) == 1


def test_all_devices_walks_every_page(url: str, answers: MemoryAnswers) -> None:
    answers.members[:] = [device(f"GPU-{n:06}") for n in range(2300)]
    with Client(url) as fallow:
        assert [one.uuid for one in fallow.all_devices()] == [one.uuid for one in answers.members]


def test_history_is_asked_with_times_as_people_write_them(url: str, answers: MemoryAnswers) -> None:
    with Client(url) as fallow:
        found = fallow.history(BUSY, ["power_watts"], start="2026-03-01T20:00:00+08:00", end="1772370000", step="5m")
    assert found.columns == ["time", "power_watts"]
    assert answers.asked[0][2:] == (1772366400.0, 1772370000.0, 300.0)


def test_devices_are_declared_retired_and_their_baseline_accepted(url: str) -> None:
    with Client(url) as fallow:
        declared = [api.Declared(uuid="NEW 1%?", node="gpu-09"), api.Declared(uuid=BUSY)]
        assert fallow.declare(declared) == api.DeclarationResult(declared=1, already=1)
        assert fallow.device("NEW 1%?").device.phase == "absent"
        fallow.retire("NEW 1%?")
        with pytest.raises(Refused) as refused:
            fallow.device("NEW 1%?")
        assert (refused.value.status, refused.value.problem.title) == (404, "Not Found")
        assert fallow.accept_baseline(BUSY).floor_source == "accepted"


def test_the_same_calls_can_be_awaited(url: str, answers: MemoryAnswers) -> None:
    async def ask() -> None:
        async with AsyncClient(url) as fallow:
            capacity, nodes, device = await asyncio.gather(fallow.capacity(), fallow.nodes(), fallow.device(BUSY))
            assert (capacity.revision, len(nodes.items), device.device.uuid) == (42, 4, BUSY)
            assert [one.uuid async for one in fallow.all_devices()] == [one.uuid for one in answers.members]
            assert (await fallow.devices(limit=1)).next is not None
            assert (await fallow.explain(BUSY)).phase == "unmanaged"
            assert (await fallow.history(BUSY, ["processes"])).columns == ["time", "processes"]
            assert (await fallow.declare([api.Declared(uuid="NEW")])).declared == 1
            await fallow.retire("NEW")
            assert (await fallow.accept_baseline(BUSY)).uuid == BUSY
            with pytest.raises(Refused, match="there is no device none"):
                await fallow.device("none")

    asyncio.run(ask())


def test_a_collector_that_is_not_there_is_unreachable_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with Client(address) as fallow, pytest.raises(Unreachable, match="is fallow-collector running there"):
        fallow.capacity()

    async def ask() -> None:
        async with AsyncClient(address) as client:
            await client.capacity()

    with pytest.raises(Unreachable, match="--url or FALLOW_URL names another"):
        asyncio.run(ask())


@pytest.mark.parametrize("address", ["", "foo", "127.0.0.1:4918", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_a_url_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(FallowError, match=r"expected one such as http://127\.0\.0\.1:4918"):
        Client(address)


@pytest.mark.parametrize(("address", "overheard"), [
    ("http://127.0.0.1:1", False), ("http://[::1]:1", False), ("http://localhost", False), ("https://10.0.0.1", False),
    ("http://10.0.0.1:4918", True), ("http://collector.example", True), ("http://localhost.evil", True),
    ("http://127.0.0.1@evil:1", True), ("http://[::", False),
])
def test_plain_text_to_another_machine_is_overheard(address: str, overheard: bool) -> None:
    assert is_overheard(address) is overheard


def test_proxies_of_the_environment_are_left_aside(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Client(url) as fallow:
        assert fallow.capacity().revision == 42


def test_tokens_are_shown_and_their_refusal_is_told(tmp_path: Path) -> None:
    reader = mint("ci", "read")
    path = tmp_path / "tokens"
    path.write_text(reader.line)
    path.chmod(0o600)
    with served(MemoryAnswers(), Tokens(path)) as address:
        with Client(address, reader.secret) as fallow:
            assert fallow.capacity().revision == 42
            with pytest.raises(Refused, match=r"token ci has role read; POST .*/accept needs admin \(403 Forbidden\)"):
                fallow.accept_baseline(BUSY)
        with Client(address) as fallow, pytest.raises(Refused, match="no token came"):
            fallow.capacity()


@pytest.fixture(params=[
    (200, b"<html>hello</html>"), (200, b'{"as_of": 3}'), (200, b""), (404, b"<html>not here</html>"), (502, b""),
    (302, b""),
])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """Something on a port that is no collector."""
    status, body = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A test's output is for the test."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_what_is_no_collector_is_malformed_and_never_taken_for_an_answer(stranger: str) -> None:
    with Client(stranger) as fallow, pytest.raises(Malformed, match="collector"):
        fallow.capacity()
