"""One node's half of the conversation."""

from fallow_proto.codec import encode_ranges, layout_of
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.node import BACKLOG_REPORTS, EVIDENCE_REPORTS, Batch, Node


class Seconds:
    """Reports of which only the number matters, one a second."""

    epoch = "e1"
    layout = layout_of([])

    def hello(self) -> pb.Hello:
        return pb.Hello(node="n", epoch=self.epoch)

    def fill(self, batch: pb.Reports, lo: int, hi: int) -> None:
        for seq in range(lo, hi + 1):
            batch.reports.add(seq=seq)

    def due(self, seq: int) -> float:
        return float(seq)

    def oldest_within(self, newest: int, seconds: float) -> int:
        return max(1, newest - int(seconds))


def node(newest: int = 0) -> Node:
    return Node(Seconds(), newest=newest)


def welcome(*stored: tuple[int, int], judged: int = 0, epoch: str = "e1", evidence_s: float = 10.0) -> pb.ToAgent:
    return pb.ToAgent(welcome=pb.Welcome(
        stored=encode_ranges({"e1": stored}), judged_epoch=epoch, judged_seq=judged, evidence_s=evidence_s,
    ))


def ack(*ranges: tuple[int, int], epoch: str = "e1") -> pb.ToAgent:
    return pb.ToAgent(ack=pb.Ack(stored=encode_ranges({epoch: ranges})))


def spooled(message: pb.FromAgent) -> list[tuple[int, int]]:
    return [(r.lo, r.hi) for ranges in message.hello.spooled for r in ranges.ranges]


def judged(lo: int, hi: int) -> Batch:
    return Batch(pb.LANE_JUDGED, lo, hi)


def backlog(lo: int, hi: int) -> Batch:
    return Batch(pb.LANE_BACKLOG, lo, hi)


def test_nothing_is_sent_before_the_welcome() -> None:
    one = node(newest=5)
    assert one.opened().hello.node == "n"
    assert one.judged() is None
    assert one.backlog() is None


def test_evidence_is_sent_oldest_first_in_one_batch_and_then_live_reports_as_they_come() -> None:
    one = node(newest=5)
    one.opened()
    one.received(welcome())
    assert one.judged() == judged(1, 5)
    assert one.judged() is None
    one.newest = 6
    assert one.judged() == judged(6, 6)


def test_only_what_is_later_than_the_last_one_judged_is_evidence() -> None:
    one = node(newest=5)
    one.opened()
    one.received(welcome(judged=3))
    assert one.judged() == judged(4, 5)


def test_another_epoch_was_judged_so_all_evidence_is_sent() -> None:
    one = node(newest=5)
    one.opened()
    one.received(welcome(judged=3, epoch="other"))
    assert one.judged() == judged(1, 5)


def test_evidence_is_sent_again_though_the_store_has_it() -> None:
    one = node(newest=5)
    one.opened()
    one.received(welcome((1, 5)))
    assert one.judged() == judged(1, 5)
    assert one.backlog() is None


def test_what_is_older_than_the_evidence_goes_to_the_backlog_if_the_store_lacks_it() -> None:
    one = node(newest=100)
    one.opened()
    one.received(welcome((1, 50), (60, 70)))
    assert one.judged() == judged(90, 100)
    assert [one.backlog() for _ in range(3)] == [backlog(51, 59), backlog(71, 89), None]


def test_long_backlogs_go_in_bounded_batches() -> None:
    one = node(newest=1000)
    one.opened()
    one.received(welcome(evidence_s=500.0))
    assert one.judged() == judged(500, 500 + EVIDENCE_REPORTS - 1)
    assert one.backlog() == backlog(1, BACKLOG_REPORTS)
    assert one.backlog() == backlog(BACKLOG_REPORTS + 1, 2 * BACKLOG_REPORTS)


def test_an_acknowledgement_counts_once() -> None:
    one = node(newest=9)
    one.opened()
    one.received(welcome())
    assert one.received(ack((1, 4))) == [(1, 4)]
    assert one.received(ack((2, 6))) == [(5, 6)]
    assert one.received(ack((7, 7), epoch="other")) == []


def test_what_is_acknowledged_or_refused_is_not_spooled_any_more() -> None:
    one = node(newest=9)
    one.opened()
    one.received(welcome())
    one.received(ack((1, 4)))
    one.received(pb.ToAgent(refuse=pb.Refuse(refused=encode_ranges({"e1": [(6, 7)]}), reason="poison")))
    assert spooled(one.opened()) == [(5, 5), (8, 9)]


def test_what_a_store_lost_is_sent_again_and_counts_as_unacknowledged() -> None:
    one = node(newest=9)
    one.opened()
    one.received(welcome())
    one.judged()
    one.received(ack((1, 9)))
    one.received(pb.ToAgent(resend=pb.Resend(lost=encode_ranges({"e1": [(3, 5)]}))))
    assert one.backlog() == backlog(3, 5)
    assert one.received(ack((3, 5))) == [(3, 5)]


def test_a_message_carries_its_reports_and_what_they_mean() -> None:
    message = node(newest=3).message(judged(2, 3))
    assert [report.seq for report in message.reports.reports] == [2, 3]
    assert message.reports.epoch == "e1"
    assert message.reports.layout == Seconds.layout.hash
    assert message.reports.lane == pb.LANE_JUDGED


def fence(token: int, device: str = "d", *, held: bool = True) -> pb.DeviceFence:
    return pb.DeviceFence(device=device, token=token, held=held, lease_id=f"l{token}")


def said(node: Node) -> list[list[pb.DeviceFence]]:
    answers = []
    while (answer := node.answer()) is not None:
        answers.append(list(answer.fenced.fences))
    return answers


def test_fences_are_answered_with_what_is_kept_and_every_hello_says_it() -> None:
    one = node()
    assert list(one.opened().hello.fences) == []
    for fences in ([fence(7), fence(3, "e")], [fence(6)], [fence(7, held=False)]):
        one.received(pb.ToAgent(fence=pb.Fence(fences=fences)))
    assert said(one) == [[fence(7), fence(3, "e")], [fence(7)], [fence(7, held=False)]]
    assert list(one.opened().hello.fences) == [fence(7, held=False), fence(3, "e")]
