"""One agent's stream, message by message."""

from collections.abc import Callable, Sequence

import pytest

from fallow_collector.ingest import hello as greeting
from fallow_collector.ingest.identity import Identity
from fallow_collector.ingest.ledger import ENTRIES
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.session import (
    AGE_MAX_S,
    AHEAD_MAX_S,
    DETAIL_LENGTH,
    EVENTS,
    LAYOUTS,
    REPORTS,
    Action,
    Close,
    Confirm,
    Fault,
    Greet,
    Import,
    Listed,
    Record,
    Refusal,
    Refused,
    Session,
    Shed,
    Take,
    Terms,
    Unusable,
    Update,
)
from fallow_proto import WIRE
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import (
    EPOCH,
    NODE,
    WALL,
    event,
    events,
    fence,
    fenced,
    hello,
    layout,
    layout_for,
    ledger,
    listed,
    numbers,
    report,
    reports,
)

TERMS = Terms("0.1.0", 120.0)


def bind(node: str, layout: pb.Layout) -> Callable[[str, pb.Report, float], int]:
    """A decoder that keeps the number only, and understands layouts with blocks and reports with readings."""
    if not layout.blocks:
        raise Unusable("no blocks")

    def decode(epoch: str, report: pb.Report, receipt: float) -> int:
        if not report.readings:
            raise Unusable("no readings")
        return report.seq

    return decode


class Talk:
    """A session and what it was told."""

    def __init__(self, received: Received | None = None, identity: Identity | None = None) -> None:
        self.received = received or Received()
        self.session: Session[int] = Session(self.received, bind, identity)

    def say(self, *messages: pb.FromAgent) -> list[Action[int]]:
        said: list[Action[int]] = []
        for message in messages:
            said += self.session.handle(message, receipt=10.0, wall=WALL)
        return said

    def news(self) -> list[pb.ToAgent]:
        return self.session.news()


@pytest.fixture
def talk() -> Talk:
    """A session that has said Hello and its layout."""
    talk = Talk()
    talk.say(hello(), layout())
    return talk


def taken(actions: Sequence[Action[int]]) -> tuple[list[int], list[int]]:
    takes = [action for action in actions if isinstance(action, Take)]
    return [n for take in takes for n in take.judge], [n for take in takes for n in take.numbers]


def test_a_hello_greets_and_is_answered_with_what_the_store_has() -> None:
    received = Received()
    received.of(NODE, EPOCH).commit(1, 5)
    received.of(NODE, "older").commit(7, 9)
    received.of(NODE, "elder").commit(1, 1)
    talk = Talk(received)
    said = hello(spooled=[pb.EpochRanges(epoch="older", ranges=[pb.Range(lo=7, hi=12)])])
    assert talk.say(said) == [Greet(said.hello)]
    welcome = talk.session.welcome((EPOCH, 5), TERMS).welcome
    assert welcome.wire == WIRE
    assert numbers(welcome.stored) == {EPOCH: [(1, 5)], "older": [(7, 9)]}
    assert (welcome.judged_epoch, welcome.judged_seq, welcome.evidence_s) == (EPOCH, 5, 120.0)


@pytest.mark.parametrize(("message", "fault", "reason"), [
    (layout(), Fault.INVALID_ARGUMENT, "the first message was layout, expected Hello"),
    (reports(1), Fault.INVALID_ARGUMENT, "the first message was reports, expected Hello"),
    (pb.FromAgent(), Fault.INVALID_ARGUMENT, "the first message was empty, expected Hello"),
    (hello(wire=0), Fault.FAILED_PRECONDITION, "wire version 0, expected 1 or newer: upgrade the agent"),
    (hello(node=""), Fault.INVALID_ARGUMENT, "node is empty, expected a name"),
])
def test_a_stream_that_begins_wrong_is_closed_with_the_reason(message: pb.FromAgent, fault: Fault, reason: str) -> None:
    talk = Talk()
    assert talk.say(message) == [Close(fault, reason)]
    assert talk.say(hello()) == [], "after the end nothing is heard"


def test_a_certificate_of_another_node_is_refused() -> None:
    (close,) = Talk(identity=Identity(("node-2",), ())).say(hello())
    assert isinstance(close, Close)
    assert close.fault == Fault.PERMISSION_DENIED
    assert close.reason == "the certificate is of node-2, expected one that names the node node-1"
    assert isinstance(Talk(identity=Identity((NODE,), ())).say(hello())[0], Greet)


def test_a_live_report_is_judged_and_stored_and_acknowledged_when_it_is_in_the_store(talk: Talk) -> None:
    assert taken(talk.say(reports(1))) == ([1], [1])
    assert not talk.session.has_news
    talk.session.acknowledge(EPOCH, 1, 1)
    (message,) = talk.news()
    assert numbers(message.ack.stored) == {EPOCH: [(1, 1)]}
    assert not talk.session.has_news


def test_the_backlog_is_stored_and_not_judged(talk: Talk) -> None:
    assert taken(talk.say(reports(1, 2, lane=pb.LANE_BACKLOG))) == ([], [1, 2])
    assert taken(talk.say(reports(3, lane=pb.LANE_UNSPECIFIED))) == ([], [3])


def test_how_many_reports_a_spool_let_go_is_told_with_reports_when_the_agent_says_so(talk: Talk) -> None:
    message = reports(1)
    assert not any(isinstance(action, Shed) for action in talk.say(message))
    message = reports(2)
    message.reports.spool_dropped = 0
    assert Shed(0) in talk.say(message)


def test_what_is_on_its_way_to_the_store_is_judged_again_but_not_stored_twice(talk: Talk) -> None:
    talk.say(reports(1, 2))
    assert taken(talk.say(reports(1, 2, 3))) == ([1, 2, 3], [3])
    assert not talk.session.has_news


def test_what_the_store_has_is_judged_again_and_acknowledged_again(talk: Talk) -> None:
    talk.say(reports(1))
    talk.received.of(NODE, EPOCH).commit(1, 1)
    assert taken(talk.say(reports(1, 2))) == ([1, 2], [2])
    assert numbers(talk.news()[0].ack.stored) == {EPOCH: [(1, 1)]}


@pytest.mark.parametrize(("message", "refusal", "detail"), [
    (reports(1, epoch="other"), Refusal.UNKNOWN_EPOCH, "epoch 'other' is in no Hello of this stream"),
    (reports(1, node="node-2"), Refusal.UNKNOWN_LAYOUT, "was not sent on this stream"),
    (reports(report(1, readings=[])), Refusal.MALFORMED, "no readings"),
    (reports(report(0, previous=0)), Refusal.MALFORMED, "number 0 after 0"),
    (reports(report(5, previous=5)), Refusal.MALFORMED, "number 5 after 5, expected it to rise"),
    (reports(report(2**53)), Refusal.MALFORMED, "below 2^53"),
])
def test_poison_is_refused_with_a_reason_and_not_stored(
    talk: Talk, message: pb.FromAgent, refusal: Refusal, detail: str
) -> None:
    actions = talk.say(message)
    assert taken(actions) == ([], [])
    (refused,) = [action for action in actions if isinstance(action, Refused)]
    assert (refused.refusal, refused.many) == (refusal, 1)
    assert detail in refused.detail
    (told,) = talk.news()
    assert told.refuse.reason.startswith(f"{refusal}: ")
    seq = message.reports.reports[0].seq
    assert numbers(told.refuse.refused) == {message.reports.epoch: [(seq, seq)]}


def test_one_malformed_report_does_not_harm_its_neighbours(talk: Talk) -> None:
    assert taken(talk.say(reports(1, report(2, readings=[]), 3))) == ([1, 3], [1, 3])


def test_a_bad_layout_is_told_with_the_reports_that_need_it() -> None:
    talk = Talk()
    talk.say(hello(), pb.FromAgent(layout=pb.Layout(hash=layout_for().hash)))
    talk.say(reports(1, 2))
    (told,) = talk.news()
    assert told.refuse.reason == "bad_layout: no blocks"
    assert numbers(told.refuse.refused) == {EPOCH: [(1, 2)]}


@pytest.mark.parametrize(("age_s", "stored"), [
    (-AHEAD_MAX_S - 1, False), (-AHEAD_MAX_S + 1, True), (0, True), (AGE_MAX_S - 1, True), (AGE_MAX_S + 1, False),
    (WALL, False), (-1e12, False),
])
def test_a_time_outside_the_window_is_refused_for_the_store_and_judged_all_the_same(
    talk: Talk, age_s: float, stored: bool
) -> None:
    actions = talk.say(reports(report(1, time_ms=int((WALL - age_s) * 1000))))
    assert taken(actions) == ([1], [1] if stored else [])
    assert [message.refuse.reason.split(":")[0] for message in talk.news()] == ([] if stored else ["time"])


def test_too_many_reports_in_one_message_are_refused(talk: Talk) -> None:
    talk.say(reports(*range(1, REPORTS + 2)))
    (told,) = talk.news()
    assert told.refuse.reason == f"too_many: {REPORTS + 1} reports in one message, expected no more than {REPORTS}"


def test_refusals_of_one_kind_are_told_together(talk: Talk) -> None:
    talk.say(*(reports(n, epoch="other") for n in range(1, 50)))
    (told,) = talk.news()
    assert numbers(told.refuse.refused) == {"other": [(1, 49)]}


def test_events_are_recorded_and_bad_ones_refused(talk: Talk) -> None:
    good, bad = event(1, message="a\nb"), event(2, id="")
    actions = talk.say(events(good, bad))
    assert [action.refusal for action in actions if isinstance(action, Refused)] == [Refusal.MALFORMED]
    (record,) = [action for action in actions if isinstance(action, Record)]
    assert [each.message for each in record.events] == ["a b"]
    assert talk.say(events(event(3), epoch="other"))[0] == Refused(
        Refusal.UNKNOWN_EPOCH, 1, "epoch 'other' is in no Hello"
    )
    talk.say(events(*(event(n) for n in range(1, EVENTS + 2))))
    assert any(told.refuse.reason.startswith("too_many") for told in talk.news())


@pytest.mark.parametrize("message", [
    events(event(7), epoch="e" * 50_000), reports(1, epoch="e" * 50_000),
])
def test_a_long_word_of_an_agent_makes_no_long_line_in_the_log(talk: Talk, message: pb.FromAgent) -> None:
    (refused,) = talk.say(message)
    assert isinstance(refused, Refused)
    assert len(refused.detail) == DETAIL_LENGTH


def test_a_second_hello_updates_the_inventory_and_adds_epochs(talk: Talk) -> None:
    again = hello(epoch="epoch-b")
    assert talk.say(again) == [Update(again.hello)]
    assert taken(talk.say(reports(1, epoch="epoch-b"))) == ([1], [1])
    assert taken(talk.say(reports(1))) == ([1], [1]), "the older epoch goes on"


@pytest.mark.parametrize("again", [hello(node="node-2"), hello(site="")])
def test_a_second_hello_that_is_wrong_closes_the_stream(talk: Talk, again: pb.FromAgent) -> None:
    assert isinstance(talk.say(again)[0], Close)


def test_endless_layouts_close_the_stream(talk: Talk) -> None:
    said = talk.say(*(pb.FromAgent(layout=pb.Layout(hash=str(n).encode())) for n in range(LAYOUTS)))
    assert said == [Close(Fault.RESOURCE_EXHAUSTED, f"more than {LAYOUTS} layouts on one stream")]


def test_an_absurd_layout_hash_closes_the_stream(talk: Talk) -> None:
    assert isinstance(talk.say(pb.FromAgent(layout=pb.Layout(hash=b"x" * 1000)))[0], Close)


def test_a_word_of_a_newer_agent_is_ignored(talk: Talk) -> None:
    future = pb.FromAgent.FromString(b"\xfa\x01\x02hi")  # field 31, bytes
    assert talk.say(future) == []


def test_what_was_lost_by_the_store_is_asked_for_again(talk: Talk) -> None:
    talk.session.ask_again(EPOCH, 4, 6)
    (told,) = talk.news()
    assert numbers(told.resend.lost) == {EPOCH: [(4, 6)]}


def test_what_a_node_keeps_of_fences_is_told_with_its_descriptions_cleaned(talk: Talk) -> None:
    (confirm,) = talk.say(fenced(fence(holder="a\nb"), fence("other", 2**53 - 1, held=False)))
    assert confirm == Confirm([fence(holder="a b"), fence("other", 2**53 - 1, held=False)])


@pytest.mark.parametrize(("fences", "detail"), [
    ([fence("")], "device of a fence is empty, expected a name"),
    ([fence("a b")], "holds a space or a control character"),
    ([fence(token=0)], f"token 0 of device {NODE}-gpu-0, expected 1 to below 2^53"),
    ([fence(), fence(token=2**53)], f"token {2**53} of device"),
    ([fence()] * (greeting.FENCES + 1), "4097 fences, expected no more than 4096"),
])
def test_fences_that_cannot_be_are_refused_whole_and_end_neither_the_stream_nor_the_telemetry(
    talk: Talk, fences: list[pb.DeviceFence], detail: str
) -> None:
    (refused,) = talk.say(fenced(*fences))
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.many) == (Refusal.MALFORMED, 1)
    assert detail in refused.detail
    assert taken(talk.say(reports(1))) == ([1], [1])


def test_a_hello_says_what_the_node_keeps_and_one_with_an_absurd_token_is_closed() -> None:
    (greet,) = Talk().say(hello(fences=[fence(holder="a\tb")], rack="row\n3"))
    assert isinstance(greet, Greet)
    assert (list(greet.hello.fences), greet.hello.rack) == ([fence(holder="a b")], "row 3")
    (close,) = Talk().say(hello(fences=[fence(token=2**53)]))
    assert isinstance(close, Close)
    assert close.fault == Fault.INVALID_ARGUMENT
    assert "expected 1 to below 2^53" in close.reason


def test_a_schedulers_allocations_are_imported_and_only_described_by_printable_words(talk: Talk) -> None:
    odd = [pb.Allocation(device="d", holder="a\nb")]
    (imported,) = talk.say(ledger(problem="\x07", allocations=odd))
    assert isinstance(imported, Import)
    assert imported.ledger.problem == "unprintable", "a problem that says nothing is still one"
    assert imported.ledger.allocations[0].holder == "a b"
    assert talk.say(ledger()) == [Import(ledger().ledger)]


@pytest.mark.parametrize(("message", "detail"), [
    (ledger(name=""), "name of a ledger is empty"),
    (ledger(age_s=-1.0), "age_s of ledger kubernetes is -1.0"),
    (ledger(age_s=float("nan")), "age_s of ledger kubernetes is nan"),
    (ledger(owned=[""]), "device in ledger kubernetes is empty"),
    (ledger(allocations=[pb.Allocation(device="", holder="x")]), "device in ledger kubernetes is empty"),
    (ledger(owned=["d"] * (ENTRIES + 1)), "4097 allocations or owned devices"),
])
def test_a_ledger_that_cannot_be_is_refused_whole(talk: Talk, message: pb.FromAgent, detail: str) -> None:
    (refused,) = talk.say(message)
    assert isinstance(refused, Refused)
    assert refused.refusal == Refusal.MALFORMED
    assert detail in refused.detail


def test_processes_of_a_device_are_heard_and_only_described_by_printable_words(talk: Talk) -> None:
    odd = pb.Process(pid=1, command="a\nb", user="u\t", cgroup="/x\n", problem="\x07")
    (heard,) = talk.say(listed(odd, problem="\x07"))
    assert isinstance(heard, Listed)
    assert heard.told.problem == "unprintable"
    assert heard.told.processes[0] == pb.Process(pid=1, command="a b", user="u", cgroup="/x", problem="unprintable")


@pytest.mark.parametrize(("message", "detail"), [
    (listed(device=""), "device of processes is empty"),
    (listed(*[pb.Process(pid=1)] * 257), "257 processes on device node-1-gpu-0, expected no more than 256"),
])
def test_processes_that_cannot_be_are_refused_whole(talk: Talk, message: pb.FromAgent, detail: str) -> None:
    (refused,) = talk.say(message)
    assert isinstance(refused, Refused)
    assert (refused.refusal, detail in refused.detail) == (Refusal.MALFORMED, True)
    assert taken(talk.say(reports(1))) == ([1], [1])
