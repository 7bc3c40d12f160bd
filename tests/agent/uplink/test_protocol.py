"""The uplink's protocol, one situation at a time."""

from fallow_agent.spool.item import Commit
from fallow_agent.uplink import words as w
from fallow_agent.uplink.batches import MAX_BYTES
from fallow_agent.uplink.protocol import BACKLOG_BYTES_PER_S, BACKLOG_IN_FLIGHT, SPOOL_RETRY_S, State
from fallow_proto.codec import encode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.builders import event, ranges, report
from tests.agent.uplink.node import Node, lanes


def test_it_says_hello_first_and_nothing_before_it_is_welcomed() -> None:
    node = Node()
    node.tell(w.Inventoried([pb.Device(uuid="cpu-1")], [pb.Reader(name="host", state="ok")]))
    node.sample()
    assert node.dials == [1_000.0]
    node.tell(w.Dialled())
    hello = node.take()
    assert [message.WhichOneof("kind") for message in hello] == ["hello"]
    told = hello[0].hello
    assert (told.wire, told.site, told.node, told.epoch, told.boot_id) == (1, "site", "node1", "a", "boot")
    assert [device.uuid for device in told.devices] == ["cpu-1"]
    assert told.spooled == encode_ranges({"a": [(1, 1)]})
    node.sample()
    assert node.wire == []


def test_the_first_welcome_asks_for_all_evidence_in_one_batch_and_then_reports_go_as_they_come() -> None:
    node = Node()
    for _ in range(3):
        node.sample()
    node.connect()
    assert lanes(node.take()) == [("layout", "", []), ("judged", "a", [1, 2, 3])]
    node.sample()
    assert lanes(node.take()) == [("judged", "a", [4])]


def test_evidence_is_sent_again_though_it_was_acknowledged_but_not_what_was_judged() -> None:
    node = Node()
    for _ in range(5):
        node.sample()
    node.connect(judged=("a", 3), a=[(1, 5)])
    assert lanes(node.settle()) == [("layout", "", []), ("judged", "a", [4, 5])]


def test_what_was_judged_and_not_stored_goes_to_the_store_only() -> None:
    node = Node()
    for _ in range(5):
        node.sample()
    node.connect(judged=("a", 3), a=[(1, 1)])
    assert lanes(node.settle()) == [("layout", "", []), ("judged", "a", [4, 5]), ("backlog", "a", [2, 3])]


def test_events_go_before_samples() -> None:
    node = Node()
    node.sample()
    node.happen("boom")
    node.connect()
    assert lanes(node.take()) == [("events", "a", [2]), ("layout", "", []), ("judged", "a", [1])]


def test_an_event_that_grew_is_sent_in_its_newest_form_only() -> None:
    node = Node()
    node.happen("boom")
    node.happen("boom", count=5)
    node.connect()
    sent = node.settle()
    assert lanes(sent) == [("events", "a", [2])]
    assert sent[0].events.events[0].count == 5
    assert node.uplink.unacknowledged.held["a"] == node.spool.held()["a"]


def test_a_new_layout_goes_before_the_first_report_that_needs_it() -> None:
    node = Node()
    node.connect()
    node.sample(devices=1)
    node.sample(devices=2)
    node.sample(devices=1)
    assert lanes(node.settle()) == [
        ("layout", "", []), ("judged", "a", [1]), ("layout", "", []), ("judged", "a", [2]), ("judged", "a", [3])
    ]


def test_a_new_stream_is_told_the_layout_again() -> None:
    node = Node()
    node.connect()
    node.sample()
    node.settle()
    node.tell(w.Lost("cut"))
    node.connect()
    assert lanes(node.settle())[0] == ("layout", "", [])


def test_a_change_of_devices_is_told_before_their_numbers() -> None:
    node = Node()
    node.connect()
    node.sample()
    node.take()
    node.tell(w.Inventoried([pb.Device(uuid="cpu-0"), pb.Device(uuid="cpu-1")], []))
    node.sample(devices=2)
    assert lanes(node.settle()) == [("hello", "", []), ("layout", "", []), ("judged", "a", [2])]


def test_a_new_epoch_is_told_before_its_reports_and_the_evidence_goes_on() -> None:
    node = Node()
    node.connect()
    node.sample()
    node.settle()
    node.begin_epoch("b")
    node.sample()
    sent = node.settle()
    assert lanes(sent) == [("hello", "", []), ("judged", "b", [1])]
    assert sent[0].hello.epoch == "b"


def test_a_collector_that_judged_the_epoch_before_gets_the_rest_of_it_and_the_new_one() -> None:
    node = Node()
    for _ in range(3):
        node.sample()
    node.begin_epoch("b")
    node.sample()
    hello = node.connect(judged=("a", 2), a=[(1, 3)])[0].hello
    assert {spooled.epoch for spooled in hello.spooled} == {"a", "b"}
    assert lanes(node.settle()) == [("layout", "", []), ("judged", "a", [3]), ("judged", "b", [1])]


def test_while_the_wire_is_slow_reports_wait_in_the_ring_and_go_together() -> None:
    node = Node()
    node.connect()
    for _ in range(5):
        node.sample()
    assert lanes(node.wire) == [("layout", "", []), ("judged", "a", [1])]
    assert lanes(node.settle())[2:] == [("judged", "a", [2, 3, 4, 5])]


def test_what_the_ring_forgot_while_the_wire_was_slow_goes_to_the_store() -> None:
    node = Node()
    node.connect()
    node.welcome()
    for _ in range(300):
        node.sample()
        node.now += 1.0
    sent = lanes(node.settle())
    judged = [seq for kind, _, seqs in sent if kind == "judged" for seq in seqs]
    backlog = [seq for kind, _, seqs in sent if kind == "backlog" for seq in seqs]
    assert judged == [1, *range(180, 301)]
    assert backlog == list(range(2, 180))


def test_batches_are_bounded_in_bytes() -> None:
    node = Node()
    for _ in range(100):
        node.sample(padding=20_000)
    node.connect()
    sent = node.settle()
    assert all(message.ByteSize() <= MAX_BYTES + 1_000 for message in sent)
    assert [seq for _, _, seqs in lanes(sent) for seq in seqs] == list(range(1, 101))


def test_reports_of_an_earlier_run_go_to_the_store_oldest_first_after_their_events() -> None:
    node = Node()
    for item in (report(1, "z"), event(2, "z"), report(3, "z"), report(1, "y")):
        node.spool.commit(Commit([item]), 0)
    node.tell(w.Recovered(node.spool.held()))
    node.sample()
    node.connect()
    assert lanes(node.settle()) == [
        ("layout", "", []),
        ("judged", "a", [1]),
        ("events", "z", [2]),
        ("backlog", "z", [1, 3]),
        ("backlog", "y", [1]),
    ]


def test_the_backlog_stops_when_nothing_is_acknowledged_and_live_goes_on() -> None:
    node = Node()
    for first in range(1, 10_001, 100):
        node.spool.commit(Commit([*(report(seq, "z") for seq in range(first, first + 100))]), 0)
    node.tell(w.Recovered(node.spool.held()))
    node.connect()
    sent = lanes(node.settle(120.0))
    backlog = [seq for _, _, seqs in sent for seq in seqs]
    assert BACKLOG_IN_FLIGHT <= len(backlog) < BACKLOG_IN_FLIGHT + 1_000
    node.sample()
    assert ("judged", "a", [1]) in lanes(node.settle())
    node.ack(z=[(1, 4_000)])
    assert next(seq for _, _, seqs in lanes(node.settle(120.0)) for seq in seqs) == backlog[-1] + 1


def test_the_backlog_keeps_to_its_pace_and_a_live_report_does_not_wait_for_it() -> None:
    node = Node()
    for seq in range(1, 51):
        node.spool.commit(Commit([report(seq, "z", padding=100_000)]), 0)
    node.tell(w.Recovered(node.spool.held()))
    node.connect()
    node.settle(0.3)
    assert node.reads[0].at > node.now
    node.sample()
    assert lanes(node.take())[-1] == ("judged", "a", [1])


def test_a_backlog_whose_layout_changes_from_report_to_report_keeps_to_the_same_pace() -> None:
    node = Node()
    for seq in range(1, 61):
        node.spool.commit(Commit([report(seq, "z", padding=120_000, devices=1 + seq % 2)]), 0)
    node.tell(w.Recovered(node.spool.held()))
    node.connect()
    sent = sum(message.ByteSize() for message in node.settle(4.0))
    assert 3.0 * BACKLOG_BYTES_PER_S < sent <= 4.0 * BACKLOG_BYTES_PER_S + MAX_BYTES


def test_what_is_acknowledged_is_trimmed_and_not_sent_again() -> None:
    node = Node()
    node.connect()
    for _ in range(3):
        node.sample()
    node.settle()
    node.ack(a=[(1, 2)])
    assert list(node.spool.held()["a"]) == [(3, 3)]
    node.tell(w.Lost("cut"))
    hello = node.connect(judged=("a", 3))
    assert hello[0].hello.spooled == encode_ranges({"a": [(3, 3)]})
    assert lanes(node.settle()) == [("layout", "", []), ("backlog", "a", [3])]


def test_what_is_refused_is_set_aside_and_not_sent_again() -> None:
    node = Node()
    node.connect()
    node.sample()
    node.sample()
    node.happen("boom")
    node.settle()
    refused = pb.Refuse(refused=encode_ranges({"a": [(1, 1), (3, 3)]}), reason="malformed")
    node.tell(w.Received(pb.ToAgent(refuse=refused)))
    assert node.dead == ["malformed"]
    assert node.spool.counters().refused == 2
    node.tell(w.Lost("cut"))
    node.connect(judged=("a", 2))
    assert lanes(node.settle()) == [("layout", "", []), ("backlog", "a", [2])]


def test_what_a_store_lost_is_sent_again_for_the_store_only() -> None:
    node = Node()
    node.connect()
    for _ in range(3):
        node.sample()
    boom = node.happen("boom")
    node.settle()
    node.tell(w.Received(pb.ToAgent(resend=pb.Resend(lost=encode_ranges({"a": [(2, 3), (boom.seq, boom.seq)]})))))
    assert lanes(node.settle()) == [("events", "a", [4]), ("backlog", "a", [2, 3])]


def test_what_the_spool_had_to_drop_is_not_looked_for() -> None:
    node = Node(mib=1)
    for _ in range(500):
        node.sample(padding=4_000)
    hello = node.connect(judged=("a", 500))[0].hello
    assert [(epoch.ranges[0].lo > 100, epoch.ranges[0].hi) for epoch in hello.spooled] == [(True, 500)]


def test_how_many_reports_were_dropped_is_said_in_hello_and_again_only_when_there_are_more() -> None:
    node = Node()
    node.tell(w.Dropped(ranges(a=[(1, 5)]), 4))
    assert node.connect()[0].hello.spool_dropped == 4
    told = []
    for dropped in (0, 3, 0):
        if dropped:
            node.tell(w.Dropped(ranges(a=[(900, 902)]), dropped))
        node.sample()
        told += [message.reports for message in node.take() if message.HasField("reports")]
    assert [each.spool_dropped if each.HasField("spool_dropped") else None for each in told] == [None, 7, None]
    assert node.connect()[0].hello.spool_dropped == 7


def test_what_was_on_the_wire_when_the_spool_dropped_it_counts_only_if_the_store_has_it_not() -> None:
    node = Node()
    node.connect()
    for _ in range(4):
        node.sample()
        node.take()
    node.tell(w.Dropped(ranges(a=[(1, 4)]), 4))
    node.ack(a=[(1, 1)])
    node.tell(w.Received(pb.ToAgent(resend=pb.Resend(lost=encode_ranges(ranges(a=[(2, 2)]))))))
    hello = node.connect(a=[(3, 3)])[0].hello
    assert hello.spool_dropped == 1  # the second: it was asked for again
    node.take()
    assert node.connect()[0].hello.spool_dropped == 2  # and the fourth, which Welcome did not name


def test_what_the_spool_lost_without_a_word_is_given_up_after_one_look() -> None:
    node = Node()
    for _ in range(3):
        node.sample()
    node.spool.commit(Commit(trims=[ranges(a=[(2, 2)])]), 0)
    node.connect(judged=("a", 3))
    assert lanes(node.settle()) == [("layout", "", []), ("backlog", "a", [1, 3])]
    assert list(node.uplink.unacknowledged.held["a"]) == [(1, 1), (3, 3)]


def test_a_spool_that_cannot_be_read_is_asked_again_later_and_nothing_is_given_up() -> None:
    node = Node()
    node.sample()
    node.connect(judged=("a", 1))
    for _ in range(2):
        request = node.reads.pop()
        assert request.at <= node.now
        node.tell(w.SpoolRead(request, request.lo - 1, []))
        assert node.reads[0].at == node.now + SPOOL_RETRY_S
        node.now += SPOOL_RETRY_S
    assert list(node.uplink.unacknowledged.held["a"]) == [(1, 1)]


def test_every_epoch_is_named_before_its_reports_however_many_there_are() -> None:
    node = Node()
    for number in range(1_500):
        node.spool.commit(Commit([report(1, f"run{number}")]), 0)
    node.tell(w.Recovered(node.spool.held()))
    sent = node.connect() + node.settle(300.0)
    named: set[str] = set()
    seen = 0
    for message in sent:
        if message.HasField("hello"):
            assert len(message.hello.spooled) <= 1_024
            named |= {message.hello.epoch, *(spooled.epoch for spooled in message.hello.spooled)}
        if message.HasField("reports"):
            assert message.reports.epoch in named
            seen += 1
    assert seen == 1_500


def test_a_spool_in_many_pieces_does_not_make_a_hello_that_no_collector_takes() -> None:
    node = Node()
    node.tell(w.Recovered({"z": RangeSet((seq, seq) for seq in range(1, 20_000, 2))}))
    node.tell(w.Dialled())
    spooled = {each.epoch: each.ranges for each in node.take()[0].hello.spooled}
    assert [(each.lo, each.hi) for each in spooled["z"]] == [(1, 19_999)]


def test_what_cannot_be_from_a_collector_ends_the_stream_and_nothing_else() -> None:
    node = Node()
    node.connect()
    node.tell(w.Received(pb.ToAgent(ack=pb.Ack(stored=[pb.EpochRanges(epoch="a", ranges=[pb.Range(lo=5, hi=1)])]))))
    assert "range 5..1 is empty" in node.hang_ups[0]


def test_a_word_of_a_newer_collector_is_ignored() -> None:
    node = Node()
    node.connect()
    assert node.tell(w.Received(pb.ToAgent())) == []
    assert node.uplink.state is State.STREAMING


def test_it_dials_again_within_a_second_then_ever_later_but_never_after_more_than_fifteen() -> None:
    node = Node()
    node.dials.clear()
    for _ in range(200):
        node.tell(w.Lost("refused"))
    waits = [dial - node.now for dial in node.dials]
    assert waits[0] <= 1.0
    assert max(waits) <= 15.0
    assert max(waits[:3]) < 4.0 < max(waits[4:])
    assert min(waits[10:]) < 3.0, "full jitter"
    assert max(waits[10:]) > 12.0


def test_after_a_stream_that_lasted_it_dials_again_soon_and_after_one_that_did_not_it_goes_on_waiting() -> None:
    def waits(lasting: float) -> list[float]:
        found = []
        for _ in range(50):
            node.connect()
            node.now += lasting
            node.tell(w.Lost("cut"))
            found.append(node.dials[-1] - node.now)
        return found

    node = Node()
    assert max(waits(lasting=5.0)) > 10.0
    assert max(waits(lasting=60.0)) <= 1.0


def test_a_collector_that_said_no_is_not_asked_again_at_once() -> None:
    node = Node()
    for _ in range(50):
        node.tell(w.Lost("this node is not known", rejected=True))
        assert 7.5 <= node.dials[-1] - node.now <= 15.0


FENCE = pb.DeviceFence(device="gpu-a", token=7, held=True, lease_id="l1", holder="alice")


def fence(node: Node, *fences: pb.DeviceFence) -> None:
    node.tell(w.Received(pb.ToAgent(fence=pb.Fence(fences=fences))))


def test_a_fence_is_kept_first_and_then_answered_before_what_waits_for_the_wire() -> None:
    node = Node()
    node.sample()
    node.connect()
    fence(node, FENCE)
    assert node.fences == [[FENCE]]
    assert lanes(node.wire) == [("layout", "", []), ("judged", "a", [1])], "the wire has not taken these yet"
    node.tell(w.Kept([FENCE]))
    node.tell(w.Fenced([FENCE]))
    assert lanes(node.take())[-1] == ("fenced", "", [])
    node.sample()
    assert lanes(node.take()) == [("judged", "a", [2])], "and reports go on"


def test_every_hello_says_what_is_kept_and_an_answer_without_a_stream_waits_for_the_next() -> None:
    node = Node()
    node.tell(w.Kept([FENCE]))
    (hello,) = node.connect()
    assert (list(hello.hello.fences), hello.hello.rack) == ([FENCE], "rack1")
    higher = pb.DeviceFence(device="gpu-a", token=9)
    fence(node, higher)
    node.tell(w.Lost("cut"))
    node.tell(w.Kept([higher]))
    node.tell(w.Fenced([higher]))
    assert node.wire == []
    (hello,) = node.connect()
    assert list(hello.hello.fences) == [higher]


def test_a_fence_before_the_welcome_is_answered_all_the_same() -> None:
    node = Node()
    node.tell(w.Dialled())
    node.take()
    fence(node, FENCE)
    node.tell(w.Fenced([FENCE]))
    assert lanes(node.take()) == [("fenced", "", [])]


def test_the_newest_ledger_goes_before_reports_and_says_how_old_it_is() -> None:
    node = Node()
    node.tell(w.Allocated(pb.Ledger(name="kubernetes", age_s=0.5), node.now))
    node.sample()
    node.now += 2.0
    node.connect()
    sent = node.take()
    assert [message.WhichOneof("kind") for message in sent] == ["ledger", "layout", "reports"]
    assert (sent[0].ledger.name, sent[0].ledger.age_s) == ("kubernetes", 2.5)
    node.sample()
    assert [message.WhichOneof("kind") for message in node.take()] == ["reports"]
    node.tell(w.Allocated(pb.Ledger(name="kubernetes", owned=["g0"]), node.now))
    assert [list(message.ledger.owned) for message in node.take()] == [["g0"]]


def test_a_new_stream_hears_the_ledger_again() -> None:
    node = Node()
    node.tell(w.Allocated(pb.Ledger(name="kubernetes"), node.now))
    node.connect()
    node.take()
    node.tell(w.Lost("cut"))
    node.connect()
    assert "ledger" in [message.WhichOneof("kind") for message in node.take()]


def lists(node: Node) -> list[tuple[str, list[int]]]:
    return [
        (message.processes.device, [each.pid for each in message.processes.processes])
        for message in node.take() if message.HasField("processes")
    ]


def listed(device: str, *pids: int) -> pb.Processes:
    return pb.Processes(device=device, processes=[pb.Process(pid=pid) for pid in pids])


def test_of_each_device_the_newest_processes_are_sent_once_on_every_stream() -> None:
    node = Node()
    node.tell(w.Inventoried([pb.Device(uuid="g0"), pb.Device(uuid="g1")], []))
    node.tell(w.Listed([listed("g0", 1), listed("g1")]))
    node.tell(w.Listed([listed("g0", 2)]))
    node.connect()
    assert lists(node) == [("g0", [2]), ("g1", [])]
    node.sample()
    assert lists(node) == []
    node.tell(w.Listed([listed("g1", 3)]))
    assert lists(node) == [("g1", [3])]
    node.tell(w.Lost("cut"))
    node.connect()
    assert lists(node) == [("g0", [2]), ("g1", [3])]


def test_processes_of_a_device_that_is_gone_are_not_sent_again() -> None:
    node = Node()
    node.tell(w.Inventoried([pb.Device(uuid="g0"), pb.Device(uuid="g1")], []))
    node.tell(w.Listed([listed("g0", 1), listed("g1", 2)]))
    node.tell(w.Inventoried([pb.Device(uuid="g1")], []))
    node.connect()
    assert lists(node) == [("g1", [2])]


def test_a_quiesce_is_passed_on_whatever_waits() -> None:
    node = Node()
    node.sample()
    node.connect()
    node.tell(w.Received(pb.ToAgent(quiesce=pb.Quiesce(for_s=600.0, by="alice"))))
    node.tell(w.Received(pb.ToAgent(quiesce=pb.Quiesce())))
    assert node.quiesces == [(600.0, "alice"), (0.0, "")]


def test_a_new_certificate_makes_a_new_stream_soon_and_what_the_old_one_did_not_carry_goes_with_it() -> None:
    node = Node()
    assert node.tell(w.Recertified()) == [], "there is no stream yet, and the next one shows it"
    node.connect()
    node.sample()
    node.take()
    node.tell(w.Recertified())
    assert node.hang_ups == ["the certificate is new, and the next stream shows it"]
    node.sample()
    node.wire.clear()  # went down with the stream
    node.tell(w.Lost(node.hang_ups[0], rejected=True))
    assert node.dials[-1] <= node.now + 1.0, "no collector has said no"
    node.connect(judged=("a", 1))
    assert [seq for kind, _, seqs in lanes(node.settle()) if kind != "layout" for seq in seqs] == [2, 1]
