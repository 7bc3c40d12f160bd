"""From the outbox to receivers over real HTTP. The clock is an argument, so nothing waits for a retry."""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fallow_collector.alerts.alert import State
from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.courier import Courier
from fallow_collector.alerts.deliver import Delivery, UnknownReceiver
from fallow_collector.alerts.push import Push
from fallow_collector.alerts.receivers.webhook import sign
from fallow_collector.alerts.sender import Sender
from fallow_collector.alerts.settings import ReceiverSettings, ReceiverType
from fallow_collector.alerts.wire import Wire
from tests.collector.alerts.shelf import START, Clock, Shelf, alert, notification
from tests.collector.alerts.sink import Sink, answer, never, raw, reset

TYPES: tuple[ReceiverType, ...] = ("webhook", "slack", "feishu", "dingtalk", "wecom", "alertmanager")


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await case()

    asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about within 10 s")


@dataclass
class Bench:
    """One receiver with all around it, and the time."""

    settings: ReceiverSettings
    shelf: Shelf
    clock: Clock
    deadline_s: float = 10.0

    def __post_init__(self) -> None:
        self.wire = Wire(ssl.create_default_context(), deadline_s=self.deadline_s)
        self.attempted = Attempted("ops", "", lambda: START)
        sender = Sender(self.settings, "http://fallow.example.com", "1.2.3", lambda: START, self.wire)
        self.does: Courier | Push = (
            Push(sender, self.shelf, self.attempted, self.clock, lambda: 0.5) if self.settings.type == "alertmanager"
            else Courier(sender, self.shelf, self.attempted, self.clock, lambda: 0.5)
        )

    async def until(self, end: float, step: float = 1.0) -> None:
        """As its task does: whenever there is something to do, and every step."""
        while self.clock.now <= end:
            while await self.does.attempt():
                pass
            self.clock.now += step


def bench(sink: Sink, shelf: Shelf, kind: ReceiverType = "webhook", secret_file: str = "") -> Bench:
    return Bench(ReceiverSettings(name="ops", type=kind, url=sink.url, secret_file=secret_file), shelf, Clock())


def ids(sink: Sink) -> list[str]:
    return [got.headers["webhook-id"] for got in sink.got]


def test_what_waits_is_delivered_in_order_and_once() -> None:
    async def case() -> None:
        shelf = Shelf().put(notification("a1"), notification("a2"), notification("b1", group="s2"))
        async with Sink() as sink:
            await bench(sink, shelf).until(5)
            assert ids(sink) == ["a1", "a2", "b1"]
            assert shelf.entries == {}

    run(case)


def test_a_receiver_that_was_down_for_an_hour_is_told_in_the_order_of_each_group() -> None:
    async def case() -> None:
        shelf = Shelf().put(notification("a1"), notification("a2"), notification("b1", group="s2"))
        down = True

        async def moody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await (reset if down else answer(200))(reader, writer)

        async with Sink([moody]) as sink:
            desk = bench(sink, shelf)
            await desk.until(3600)
            tried = len(sink.got)
            assert tried < 30  # and not one a second
            assert desk.attempted.problem == "the connection broke"
            down = False
            await desk.until(3600 + 660)
            delivered = ids(sink)[tried:]
            assert sorted(delivered) == ["a1", "a2", "b1"]
            assert delivered.index("a1") < delivered.index("a2")
            assert desk.attempted.problem == ""
            assert desk.attempted.delivered_at == START

    run(case)


def test_every_attempt_at_one_notification_has_the_same_id_and_bytes_and_is_signed_anew(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first")
    key.chmod(0o600)

    async def case() -> None:
        async with Sink([answer(500), answer(200)]) as sink:
            desk = bench(sink, Shelf().put(notification("a1")), secret_file=str(key))
            await desk.until(0)
            key.write_text("second")
            await desk.until(5)
            before, after = sink.got
            assert before.headers["webhook-id"] == after.headers["webhook-id"] == "a1"
            assert before.body == after.body
            assert before.headers["webhook-signature"] == sign("first", "a1", int(START), before.body)
            assert after.headers["webhook-signature"] == sign("second", "a1", int(START), after.body)

    run(case)


def test_a_crash_between_sending_and_noting_it_repeats_the_same_id() -> None:
    async def case() -> None:
        shelf = Shelf(full=True).put(notification("a1"))
        async with Sink() as sink:
            with pytest.raises(OSError, match="no room"):
                await bench(sink, shelf).does.attempt()
            shelf.full = False
            await bench(sink, shelf).until(1)  # another run of the collector
            assert ids(sink) == ["a1", "a1"]
            assert shelf.entries == {}

    run(case)


def test_what_was_delivered_and_could_not_be_noted_is_noted_later_and_not_sent_again() -> None:
    async def case() -> None:
        shelf = Shelf(full=True).put(notification("a1"))
        async with Sink() as sink:
            desk = bench(sink, shelf)
            for _ in range(3):
                with pytest.raises(OSError, match="no room"):
                    await desk.does.attempt()
            shelf.full = False
            await desk.until(1)
            assert ids(sink) == ["a1"]
            assert shelf.entries == {}

    run(case)


def test_one_that_a_receiver_chokes_on_holds_up_none_of_another_group_and_dies_after_a_day() -> None:
    async def case() -> None:
        shelf = Shelf().put(notification("bad"), *(notification(f"b{n}", group=f"g{n}") for n in range(20)))

        async def choosy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answer(500 if sink.got[-1].headers["webhook-id"] == "bad" else 200)(reader, writer)

        async with Sink([choosy]) as sink:
            desk = bench(sink, shelf)
            await desk.until(60)
            assert list(shelf.entries) == ["bad"]
            await desk.until(86_400 + 700, step=60.0)
            assert shelf.buried == {"bad": "it answered 500; expected 2xx"}

    run(case)


def test_what_is_refused_is_offered_slowly_twelve_times_and_is_then_dead() -> None:
    async def case() -> None:
        shelf = Shelf().put(notification("a1"))
        async with Sink([answer(410, b"gone for good")]) as sink:
            await bench(sink, shelf).until(2 * 3600, step=30.0)
            assert len(sink.got) == 12
            assert shelf.buried == {"a1": "it answered 410 and said 'gone for good'; expected 2xx"}

    run(case)


def test_a_receiver_that_asks_for_time_gets_it_for_all_that_it_is_to_be_told() -> None:
    async def case() -> None:
        shelf = Shelf().put(notification("a1"), notification("b1", group="s2"))
        async with Sink([answer(429, Retry_After="100"), answer(200)]) as sink:
            desk = bench(sink, shelf)
            await desk.until(99)
            assert ids(sink) == ["a1"]
            await desk.until(103)
            assert sorted(ids(sink)) == ["a1", "a1", "b1"]

    run(case)


def test_a_secret_file_that_everybody_may_read_stops_nothing_but_its_receiver(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret")
    key.chmod(0o644)

    async def case() -> None:
        shelf = Shelf().put(notification("a1"))
        async with Sink() as sink:
            desk = bench(sink, shelf, secret_file=str(key))
            await desk.until(0)
            assert "has mode 0644" in desk.attempted.problem
            assert sink.connections == 0
            key.chmod(0o600)
            await desk.until(5)
            assert ids(sink) == ["a1"]

    run(case)


def test_alertmanager_is_told_at_once_then_each_minute_and_of_the_end_for_as_long_as_it_stands() -> None:
    async def case() -> None:
        shelf = Shelf(alerts=[alert(1), alert(2)])
        async with Sink() as sink:
            desk = bench(sink, shelf, "alertmanager")
            await desk.until(61)
            assert [len(json.loads(got.body)) for got in sink.got] == [2, 2]
            assert sink.got[0].line == "POST /api/v2/alerts HTTP/1.1"
            shelf.alerts = [alert(1), alert(2, State.RESOLVED)]
            await desk.until(62)
            ended, = json.loads(sink.got[2].body)
            assert ended["endsAt"] == "2023-11-14T22:14:50.5Z"
            shelf.alerts = [alert(1)]  # the other is forgotten
            await desk.until(124)
            assert [len(json.loads(got.body)) for got in sink.got[3:]] == [1]

    run(case)


def test_ten_thousand_alerts_go_to_alertmanager_in_batches() -> None:
    async def case() -> None:
        shelf = Shelf(alerts=[alert(number) for number in range(10_000)])
        async with Sink() as sink:
            await bench(sink, shelf, "alertmanager").until(0)
            told = [each["labels"]["node"] for got in sink.got for each in json.loads(got.body)]
            assert len(told) == len(set(told)) == 10_000
            assert len(sink.got) == 40

    run(case)


def test_an_alertmanager_that_is_down_is_told_all_when_it_is_back() -> None:
    async def case() -> None:
        shelf = Shelf(alerts=[alert(1)])
        async with Sink([answer(503), reset, answer(200)]) as sink:
            desk = bench(sink, shelf, "alertmanager")
            await desk.until(30)
            assert len(sink.got) == 3
            assert desk.attempted.problem == ""

    run(case)


def test_an_alertmanager_that_refuses_an_alert_is_not_asked_again_at_once() -> None:
    async def case() -> None:
        shelf = Shelf(alerts=[alert(1)])
        async with Sink([answer(400, b'"start time must be before end time"')]) as sink:
            desk = bench(sink, shelf, "alertmanager")
            await desk.until(30)
            assert len(sink.got) == 1
            assert desk.attempted.problem == (
                "it answered 400 and said '\"start time must be before end time\"'; expected 2xx"
            )

    run(case)


def test_of_ends_an_alertmanager_that_does_not_want_them_is_not_told() -> None:
    async def case() -> None:
        async with Sink() as sink:
            settings = ReceiverSettings(name="ops", type="alertmanager", url=sink.url, send_resolved=False)
            await Bench(settings, Shelf(alerts=[alert(1, State.RESOLVED)]), Clock()).until(5)
            assert sink.connections == 0

    run(case)


def delivery(shelf: Shelf, *receivers: ReceiverSettings) -> Delivery:
    clock = asyncio.get_running_loop().time
    return Delivery(
        receivers, shelf, shelf, external_url="", version="1", now=clock, wall=lambda: START, random=lambda: 0.5,
    )


def named(name: str, sink: Sink, kind: ReceiverType = "webhook") -> ReceiverSettings:
    return ReceiverSettings(name=name, type=kind, url=sink.url)


class Shelves:
    """An outbox for each receiver."""

    def __init__(self, *names: str) -> None:
        self.of = {name: Shelf().put(notification(f"{name}-1")) for name in names}

    def waiting(self, name: str, now_s: float) -> object:
        return self.of[name].waiting(name, now_s)

    def standing(self, name: str) -> list[object]:
        return []

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[None]]:
        return lambda identity, *rest: getattr(self.of[identity.split("-")[0]], verb)(identity, *rest)


def test_a_receiver_that_hangs_keeps_no_other_waiting_and_stopping_takes_no_longer_than_it_may() -> None:
    async def case() -> None:
        shelves = Shelves("hung", "well")
        async with Sink([never]) as hung, Sink() as well:
            clock = asyncio.get_running_loop().time
            courier = Delivery(
                [named("hung", hung), named("well", well)], shelves, shelves,  # type: ignore[arg-type]
                external_url="", version="1", now=clock, wall=lambda: START, random=lambda: 0.5,
            )
            courier.start()
            await until(lambda: not shelves.of["well"].entries and bool(hung.got))
            assert shelves.of["hung"].entries
            async with asyncio.timeout(10):
                await courier.stop(within_s=0.1)
            assert courier.attempted["well"].delivered_at == START
            assert courier.attempted["hung"].delivered_at is None

    run(case)


def test_one_receiver_is_never_sent_two_things_at_once() -> None:
    async def case() -> None:
        shelf = Shelf().put(*(notification(f"a{number}", group=f"g{number}") for number in range(30)))
        async with Sink() as sink:
            courier = delivery(shelf, named("ops", sink))
            courier.start()
            courier.wake()
            await until(lambda: not shelf.entries)
            await courier.stop()
            assert len(sink.got) == len(set(ids(sink))) == 30
            assert sink.busiest == 1

    run(case)


@pytest.mark.parametrize("kind", TYPES)
def test_a_receiver_can_be_tested_past_the_outbox(kind: ReceiverType) -> None:
    replies = {"feishu": b'{"code":0}', "dingtalk": b'{"errcode":0}', "wecom": b'{"errcode":0}', "slack": b"ok"}

    async def case() -> None:
        async with Sink([answer(200, replies.get(kind, b"")), answer(503, b"not now")]) as sink:
            courier = delivery(Shelf(), named("ops", sink, kind))
            first, second = await courier.test("ops"), await courier.test("ops")
            await courier.stop()
            assert (first.receiver, first.delivered, first.status, first.message) == ("ops", True, 200, "delivered")
            assert b"FallowTest" in sink.got[0].body
            assert (second.delivered, second.status) == (False, 503)
            assert "it answered 503" in second.message

    run(case)


def test_a_test_of_a_receiver_that_is_unreachable_or_unknown_says_so() -> None:
    async def case() -> None:
        async with Sink() as sink:
            settings = named("ops", sink)
        courier = delivery(Shelf(), settings)
        tested = await courier.test("ops")
        assert (tested.delivered, tested.status, tested.message) == (
            False, None, "it cannot be reached: Connection refused"
        )
        with pytest.raises(UnknownReceiver, match="there is no receiver 'x'; expected one of: ops"):
            await courier.test("x")
        await courier.stop()

    run(case)


@pytest.mark.parametrize("with_token", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_no_secret_is_in_any_log_or_problem_whatever_the_receiver_does(
    kind: ReceiverType, with_token: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name, text in (("key", "s3cret-key\ns3cret-old"), ("token", "s3cret-token")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    token_file = str(tmp_path / "token") if with_token else ""
    shelf = Shelf(alerts=[alert()])
    seen: list[str] = []
    sink = Sink()

    async def repeats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All that it was sent, in its reply; each time with another status."""
        got = sink.got[-1]
        text = f"{got.line} {got.headers} {got.body.decode()}".encode()
        code = len(sink.got)
        body = json.dumps({"code": code, "errcode": code, "msg": text.decode()}).encode() if code % 2 else text
        await answer((200, 400, 503, 302, 500)[code % 5], body, Location=f"{sink.url}/s3cret-path")(reader, writer)

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw(f"{sink.got[-1].line}\r\n\r\n".encode())(reader, writer)

    async def case() -> None:
        nonlocal sink
        async with Sink([*[repeats] * 10, reset, garbage, answer(200, b"ok")]) as sink:
            port = sink.port
            where = tmp_path / "url"
            where.write_text(f"http://ops:s3cret-word@127.0.0.1:{port}/hook/s3cret-path?key=s3cret-query")
            where.chmod(0o600)
            settings = ReceiverSettings(
                name="ops", type=kind, url_file=str(where), secret_file=str(tmp_path / "key"), token_file=token_file,
            )
            for number in range(16):
                shelf.put(notification(f"a{number}", group=f"g{number}"))
                desk = Bench(settings, shelf, Clock(number * 10_000.0))
                await desk.until(number * 10_000.0)
                seen.append(desk.attempted.problem)
            where.write_text("http://s3cret host/")
            await Bench(settings, shelf, Clock(1e6)).until(1e6)

    run(case)
    everything = " ".join([*seen, *shelf.problems, *shelf.buried.values(), caplog.text])
    assert any(seen)
    assert "s3cret" not in everything
    assert "v1," not in everything
    assert base64.b64encode(b"ops:s3cret-word").decode() not in everything
