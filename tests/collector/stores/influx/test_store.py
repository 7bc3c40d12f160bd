"""The whole store against a server that misbehaves on demand."""

import time
from pathlib import Path

import numpy as np
import pytest

from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.influx.store import InfluxStore
from fallow_collector.stores.store import HistoryQuery, Outcome, Source, StoreError
from fallow_proto.ranges import RangeSet
from fallow_proto.settings import SettingsError
from tests.collector.stores.influx.batches import T0, batch, rows, series, span
from tests.collector.stores.influx.conftest import OpenStore
from tests.collector.stores.influx.fake import (
    Behaviour,
    Endless,
    FakeInflux,
    Garbage,
    Hang,
    Reply,
    Taken,
    pretends_victoriametrics,
    serving,
)
from tests.collector.stores.influx.shim import TOKEN
from tests.ports import free_port

ONE = rows([[300]])
LINE = b"device,class=intelligent,model=H100,node=n1,site=default,uuid=GPU-1,vendor=nvidia power_watts=300 %d" % T0


def test_influxdb_has_a_batch_for_good_when_it_answers(fake: FakeInflux, open_store: OpenStore) -> None:
    store = open_store(fake.url)
    assert store.write(batch(ONE, span(1, 4)), now=100) == Outcome(committed=[span(1, 4)])
    assert fake.stored == [LINE]
    path, authorization = fake.requests[-1]
    assert path == "/api/v2/write?org=org&bucket=fallow&precision=ms"
    assert authorization == f"Token {TOKEN}"
    assert store.poll(101) == Outcome()


def test_what_was_committed_is_known_after_a_restart(fake: FakeInflux, open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(fake.url)
    store.write(batch(ONE, span(1, 4), span(9, epoch="e2")), now=100)
    store.write(batch(ONE, span(5, 6)), now=101)
    store.close()
    again = InfluxStore(InfluxSettings(url=fake.url), tmp_path / "state" / "influx.db")
    assert again.open() == {Source("n1", "e1"): RangeSet([(1, 6)]), Source("n1", "e2"): RangeSet([(9, 9)])}
    again.close()


def test_a_batch_without_anything_to_write_is_committed_without_a_word(fake: FakeInflux, open_store: OpenStore) -> None:
    store = open_store(fake.url)
    assert store.write(batch(rows([[np.nan]]), span(3)), now=100).committed == [span(3)]
    assert fake.bodies == []


def test_a_server_that_began_this_very_second_is_not_written_to_before_the_next(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    store = open_store(fake.url)
    pretends_victoriametrics(fake, start=int(time.time()) + 60)  # by its own clock, which is ours
    with pytest.raises(StoreError, match="began this very second"):
        store.write(batch(ONE, span(1)), now=100)
    assert fake.stored == []
    pretends_victoriametrics(fake, start=int(time.time()) - 1)
    assert store.write(batch(ONE, span(1)), now=101) == Outcome()
    assert store.poll(120).committed == [span(1)]


def test_other_servers_have_it_only_once_it_settled(fake: FakeInflux, open_store: OpenStore) -> None:
    pretends_victoriametrics(fake, start=50)
    store = open_store(fake.url)
    assert store.write(batch(ONE, span(1)), now=100) == Outcome()
    assert store.facts()["unsettled_spans"] == 1
    assert store.poll(114) == Outcome()
    assert store.poll(116) == Outcome(committed=[span(1)])
    assert store.facts()["unsettled_spans"] == 0


def test_a_configured_settle_s_wins(fake: FakeInflux, open_store: OpenStore) -> None:
    store = open_store(fake.url, settle_s=3)
    assert store.write(batch(ONE), now=100) == Outcome()
    assert store.poll(102) == Outcome()
    assert store.poll(104).committed == [span(1)]


def test_a_restart_is_seen_by_the_start_time_and_what_had_not_settled_is_wanted_again(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    pretends_victoriametrics(fake, start=50)
    store = open_store(fake.url)
    store.write(batch(ONE, span(1)), now=90)
    assert store.poll(106).committed == [span(1)]
    store.write(batch(ONE, span(2)), now=106)
    pretends_victoriametrics(fake, start=110)
    assert store.poll(125) == Outcome(resend=[span(2)])
    assert store.facts()["restarts_total"] == 1
    store.write(batch(ONE, span(2)), now=126)
    assert store.poll(142) == Outcome(committed=[span(2)])


def test_a_connection_that_breaks_under_a_write_loses_what_had_not_settled(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    pretends_victoriametrics(fake, start=50)
    store = open_store(fake.url)
    store.write(batch(ONE, span(1)), now=100)
    fake.on_write = lambda _: Garbage(b"")
    with pytest.raises(StoreError, match="broke the connection"):
        store.write(batch(ONE, span(2)), now=101)
    assert store.poll(102) == Outcome(resend=[span(1)])


def test_a_server_that_is_only_slow_has_lost_nothing(fake: FakeInflux, open_store: OpenStore) -> None:
    pretends_victoriametrics(fake, start=50)
    store = open_store(fake.url, timeout_s=1.5)
    store.write(batch(ONE, span(1)), now=100)
    answered, fake.metrics = fake.metrics, Hang()
    assert store.poll(200) == Outcome()
    fake.metrics = answered
    assert store.poll(201) == Outcome(committed=[span(1)])


def test_a_proxy_that_cannot_reach_the_server_is_a_broken_connection(fake: FakeInflux, open_store: OpenStore) -> None:
    pretends_victoriametrics(fake, start=50)
    store = open_store(fake.url)
    store.write(batch(ONE, span(1)), now=100)
    fake.metrics = Reply(502)
    assert store.poll(200) == Outcome(resend=[span(1)])


def test_a_server_that_is_not_there_yet_is_waited_for(open_store: OpenStore) -> None:
    port = free_port()
    store = open_store(f"http://127.0.0.1:{port}")
    with pytest.raises(StoreError, match=f"127.0.0.1:{port}/ping cannot be reached"):
        store.write(batch(ONE), now=100)
    with serving(port) as fake:
        assert store.write(batch(ONE), now=101).committed == [span(1)]
        assert fake.stored == [LINE]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Reply(401, '{"code":"unauthorized","message":"unauthorized access"}'), r"unauthorized access.*token_file"),
        (Reply(403), r"answered 403.*token_file"),
        (Reply(404, '{"code":"not found","message":"bucket not found"}'), r"bucket not.*store\.influx\.bucket"),
        (Reply(500, "internal error"), "answered 500: internal error"),
        (Reply(200, "<html>Welcome</html>"), "answered 200, expected 204"),
        (Reply(307, headers={"Location": "http://127.0.0.1:1/api/v2/write"}), r"redirect to http://127\.0\.0\.1:1.*url"),
        (Reply(400, "unsupported path requested"), "rejects every row: unsupported path"),
        (Garbage(), "does not speak HTTP"),
        (Hang(), r"did not answer a write in 1\.5 s"),
    ],
)
def test_nothing_is_stored_when_the_server_refuses_and_the_batch_may_be_offered_again(
    fake: FakeInflux, open_store: OpenStore, behaviour: Behaviour, message: str, tmp_path: Path
) -> None:
    store = open_store(fake.url, timeout_s=1.5)
    fake.on_write = lambda _: behaviour
    with pytest.raises(StoreError, match=message):
        store.write(batch(ONE, span(7)), now=100)
    assert store.poll(101) == Outcome()
    assert not (tmp_path / "state" / "refused.lp").exists()
    fake.on_write = lambda _: Reply()
    assert store.write(batch(ONE, span(7)), now=102) == Outcome(committed=[span(7)])


@pytest.mark.parametrize("part", [bytes(2**16), b"."])
def test_an_error_with_an_endless_body_is_that_error_and_the_rest_of_it_is_not_read(
    fake: FakeInflux, open_store: OpenStore, part: bytes
) -> None:
    store = open_store(fake.url, timeout_s=1.5)
    fake.on_write = lambda _: Endless(503, part, pause_s=0.0 if len(part) > 1 else 0.02)
    with pytest.raises(StoreError, match="answered 503"):
        store.write(batch(ONE, span(7)), now=100)
    assert 0 < fake.sent < 64 * 2**20  # most of it in the buffers of the two sockets
    fake.on_write = lambda _: Reply()
    assert store.write(batch(ONE, span(7)), now=101) == Outcome(committed=[span(7)])


@pytest.mark.parametrize("part", [bytes(2**16), b"."])
def test_of_endless_words_about_itself_only_the_beginning_is_read(
    fake: FakeInflux, open_store: OpenStore, part: bytes
) -> None:
    fake.metrics = Endless(200, b"process_start_time_seconds 50\n" + part, pause_s=0.0 if len(part) > 1 else 0.02)
    store = open_store(fake.url, timeout_s=1.5, settle_s=1)
    assert store.write(batch(ONE, span(7)), now=100) == Outcome()
    assert store.poll(102) == Outcome(committed=[span(7)])
    assert fake.sent < 64 * 2**20


def test_what_was_taken_without_an_answer_is_offered_again(fake: FakeInflux, open_store: OpenStore) -> None:
    store = open_store(fake.url, timeout_s=1.5)
    fake.on_write = lambda _: Taken()
    with pytest.raises(StoreError, match="did not answer a write"):
        store.write(batch(ONE, span(7)), now=100)
    fake.on_write = lambda _: Reply()
    assert store.write(batch(ONE, span(7)), now=101) == Outcome(committed=[span(7)])
    assert fake.stored == [LINE, LINE]


def test_no_write_is_attempted_before_retry_after_is_over(fake: FakeInflux, open_store: OpenStore) -> None:
    store = open_store(fake.url)
    fake.on_write = lambda _: Reply(503, headers={"Retry-After": "20"})
    with pytest.raises(StoreError, match="too busy, the next attempt is in 20 s"):
        store.write(batch(ONE), now=100)
    fake.on_write = lambda _: Reply()
    with pytest.raises(StoreError, match="left alone for another 5 s"):
        store.write(batch(ONE), now=115)
    assert len(fake.bodies) == 1
    assert store.write(batch(ONE), now=120).committed == [span(1)]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_wall_clock_that_is_set_settles_nothing_early_and_holds_nothing_up(
    seconds: int, fake: FakeInflux, open_store: OpenStore
) -> None:
    pretends_victoriametrics(fake, start=50)
    store = open_store(fake.url)
    assert store.write(batch(ONE, span(1)), now=100) == Outcome()
    store.set_by = seconds
    assert store.poll(101) == Outcome()
    assert store.poll(116) == Outcome(committed=[span(1)])
    fake.on_write = lambda _: Reply(503, headers={"Retry-After": "20"})
    with pytest.raises(StoreError, match="too busy"):
        store.write(batch(ONE, span(2)), now=200)
    store.set_by = 0
    fake.on_write = lambda _: Reply()
    with pytest.raises(StoreError, match="left alone for another 1 s"):
        store.write(batch(ONE, span(2)), now=219)
    store.write(batch(ONE, span(2)), now=221)


def test_a_token_that_is_replaced_is_used_at_the_next_attempt(
    fake: FakeInflux, open_store: OpenStore, token_file: Path
) -> None:
    store = open_store(fake.url)
    fake.on_write = lambda _: Reply(204 if fake.requests[-1][1] == "Token new" else 401)
    with pytest.raises(StoreError):
        store.write(batch(ONE), now=100)
    token_file.write_text("new\n")
    assert store.write(batch(ONE), now=101).committed == [span(1)]


def test_a_body_that_is_too_large_is_halved_and_the_next_ones_are_smaller(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    store = open_store(fake.url)
    fake.on_write = lambda body: Reply(204 if len(body) <= 20_000 else 413)
    many = rows(np.arange(1000).reshape(1000, 1))
    assert store.write(batch(many), now=100).committed == [span(1)]
    assert len(fake.stored) == 1000
    posted = len(fake.bodies)
    store.write(batch(many), now=101)
    assert all(len(body) <= 20_000 for body in fake.bodies[posted:])


def test_a_row_that_the_server_never_takes_is_set_aside_counted_and_acknowledged(
    fake: FakeInflux, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(fake.url)
    fake.on_write = lambda body: Reply(400, "cannot parse") if b"power_watts=13 " in body else Reply()
    outcome = store.write(batch(rows([[12], [13], [14]]), span(1, 3)), now=100)
    assert outcome == Outcome([span(1, 3)], [], 1, "1 rows refused: cannot parse")
    assert len(fake.stored) == 2
    comment, line = (tmp_path / "state" / "refused.lp").read_text().splitlines()
    assert comment == "# 100.000 1 rows refused: cannot parse"
    assert "power_watts=13 " in line
    assert store.facts() == {
        "bodies_total": 5, "rows_total": 2, "refused_rows_total": 1, "restarts_total": 0, "unsettled_spans": 0,
    }


def test_a_device_that_cannot_be_said_does_not_stop_the_others(fake: FakeInflux, open_store: OpenStore) -> None:
    store = open_store(fake.url)
    devices = (series(), series("GPU-2", model="a\nb"))
    outcome = store.write(batch(rows([[300], [300]], positions=[0, 1]), devices=devices), now=100)
    assert outcome.refused_rows == 1
    assert outcome.committed == [span(1)]
    assert "GPU-2" in outcome.message
    assert fake.stored == [LINE]


def test_bodies_hold_at_most_eight_thousand_rows_and_small_blocks_share_one(
    fake: FakeInflux, open_store: OpenStore
) -> None:
    store = open_store(fake.url)
    store.write(batch(rows(np.ones((20_000, 1)), time_ms=range(20_000))), now=100)
    assert [body.count(b"\n") for body in fake.bodies] == [8000, 8000, 4000]
    fake.bodies.clear()
    small = batch(ONE)
    store.write(type(small)([ONE] * 50, small.spans, small.series), now=101)
    assert [body.count(b"\n") for body in fake.bodies] == [50]


def test_without_a_url_or_with_an_unreadable_token_the_store_does_not_come_to_be(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"store\.influx\.url is empty"):
        InfluxStore(InfluxSettings(), tmp_path / "influx.db")
    with pytest.raises(SettingsError, match=r"store\.influx\.token_file: /nowhere/token"):
        InfluxStore(InfluxSettings(url="http://x", token_file="/nowhere/token"), tmp_path / "influx.db")


def test_history_without_a_query_language_says_which_key_to_set(fake: FakeInflux, open_store: OpenStore) -> None:
    with pytest.raises(StoreError, match=r'store\.influx\.query is "none"; .*"promql"'):
        open_store(fake.url).history(HistoryQuery("GPU-1", ("power_watts",), 0, 1, 0))


@pytest.mark.parametrize("query", ["promql", "flux"])
def test_a_server_that_does_not_speak_the_language_is_a_clear_error(
    fake: FakeInflux, open_store: OpenStore, query: str
) -> None:
    fake.on_query = lambda _: Reply(404, "path not found")
    with pytest.raises(StoreError, match=r"(?s)404.*store\.influx\.query"):
        open_store(fake.url, query=query).history(HistoryQuery("GPU-1", ("power_watts",), 0, 1, 0))
