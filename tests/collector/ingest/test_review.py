"""Open streams whose certificates are not good any more end; the clock is an argument."""

import math

from fallow_collector.certificate import Validity
from fallow_collector.certs.revocations import Revocations
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.session import Fault, Terms
from fallow_collector.ingest.streams import Stream, Streams
from tests.collector.ingest.builders import hello
from tests.collector.ingest.test_server import Behind, bind

NOBODY = Revocations()


class Scene:
    def __init__(self) -> None:
        self.streams: Streams[int] = Streams(Received(), Behind(), bind, Terms("test", 120.0))

    def stream(self, node: str, serial: str, ends: float = math.inf, wall: float = 0.0) -> Stream[int]:
        stream = self.streams.open(None, lambda: None, Validity(0.0, ends, serial))
        self.streams.received(stream, hello(node).SerializeToString(), 0.0, wall)
        return stream


def fault(stream: Stream[int]) -> Fault | None:
    return stream.closed.fault if stream.closed is not None else None


def test_a_stream_ends_when_its_certificate_does_and_not_before() -> None:
    scene = Scene()
    first, second = scene.stream("n1", "a", ends=100.0), scene.stream("n2", "b", ends=200.0)
    scene.streams.review(NOBODY, 99.9, 0.0)
    assert (fault(first), fault(second)) == (None, None)
    scene.streams.review(NOBODY, 100.0, 0.0)
    assert (fault(first), fault(second)) == (Fault.UNAUTHENTICATED, None)
    scene.streams.review(NOBODY, 200.0, 0.0)
    assert fault(second) is Fault.UNAUTHENTICATED


def test_a_stream_ends_when_its_serial_or_its_node_is_revoked_and_no_other_does() -> None:
    scene = Scene()
    one, two, three = (scene.stream(f"n{number}", f"{number}") for number in (1, 2, 3))
    scene.streams.review(Revocations(frozenset({"1"}), {"n2": 50}), 60.0, 0.0)
    assert [fault(each) for each in (one, two, three)] == [Fault.PERMISSION_DENIED, Fault.PERMISSION_DENIED, None]
    assert one.closed is not None
    assert "`fallow-collector certs join-token` lets the node in anew" in one.closed.reason


def test_what_was_revoked_or_is_over_gets_no_stream() -> None:
    scene = Scene()
    scene.streams.review(Revocations(frozenset({"1"})), 0.0, 0.0)
    assert fault(scene.stream("n1", "1")) is Fault.PERMISSION_DENIED
    assert fault(scene.stream("n1", "2", ends=10.0, wall=11.0)) is Fault.UNAUTHENTICATED
    assert len(scene.streams) == 0


def test_a_stream_without_a_certificate_has_none_to_end() -> None:
    scene = Scene()
    stream = scene.streams.open(None, lambda: None)
    scene.streams.received(stream, hello("n1").SerializeToString(), 0.0, 0.0)
    scene.streams.review(Revocations(frozenset({""})), 1e12, 0.0)
    assert fault(stream) is None
