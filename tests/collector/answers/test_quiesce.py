"""A node is asked to let go of its devices: whom that concerns, and what is answered when the agent does not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow_collector.answers.quiesce import Quiescing
from fallow_collector.api.answers import Refused, Unavailable, Unknown
from fallow_collector.idle import phase
from fallow_proto.quiescing import Quiesced, QuiesceRequest
from fallow_proto.states import Allocation
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.answers.test_live import Site

TEN_MINUTES = QuiesceRequest(for_s=600.0)
OK = pb.Reader(name="nvidia", state="ok")
AWAY = pb.Reader(name="nvidia", state="quiesced", since_ms=1, message="until noon, as alice asked")
HOST = pb.Reader(name="host", state="ok")


class Asked:
    """A node, what its agent was sent, and how it answers."""

    def __init__(self, folder: Path, answer_s: float = 60.0) -> None:
        self.site = Site(folder)
        self.node = self.site.node
        self.node.hello(readers=[OK, HOST])
        self.connected = True
        self.answers: list[list[pb.Reader]] = []
        self.sent: list[pb.Quiesce] = []
        self.quiescing = Quiescing(
            self.node.fleet, self.node.engine, self._send, self.site.view.refresh, lambda row: "alice", answer_s
        )

    def _send(self, node: str, message: pb.ToAgent) -> bool:
        if not self.connected:
            return False
        self.sent.append(message.quiesce)
        for number, readers in enumerate(self.answers):
            asyncio.get_running_loop().call_later(0.01 * number, self._hear, readers)
        return True

    def _hear(self, readers: list[pb.Reader]) -> None:
        self.node.hello(readers=readers)
        self.quiescing.heard(pb.Hello(node="n1"))

    def quiesce(self, node: str = "n1", request: QuiesceRequest = TEN_MINUTES) -> Quiesced:
        return asyncio.run(self.quiescing.quiesce(node, request, "bob"))

    def resume(self) -> Quiesced:
        return asyncio.run(self.quiescing.resume("n1", "bob"))

    def phase_of(self, uuid: str) -> str:
        return self.site.live.device(uuid).device.phase


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(tmp_path)
    yield made
    made.site.state.close()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Asked]:
    """Its agent is not waited for."""
    made = Asked(tmp_path, answer_s=0.0)
    yield made
    made.site.state.close()


def test_the_answer_comes_when_all_readers_of_vendors_have_let_go(asked: Asked) -> None:
    asked.answers = [[OK, HOST], [AWAY, pb.Reader(name="ascend", state="failed"), HOST],
                     [AWAY, pb.Reader(name="ascend", state="absent"), HOST]]
    found = asked.quiesce()
    assert (found.done, found.held) == (True, [])
    assert [(reader.name, reader.state) for reader in found.readers] == [("nvidia", "quiesced"), ("ascend", "absent")]
    assert asked.sent == [pb.Quiesce(for_s=600.0, by="bob")]
    asked.answers = [[OK, HOST]]
    assert asked.resume().done
    assert asked.sent[1:] == [pb.Quiesce(by="bob")]


def test_an_agent_that_does_not_do_it_is_no_success(silent: Asked) -> None:
    silent.node.hello(readers=[pb.Reader(name="nvidia", state="stuck", message="no answer"), HOST])
    found = silent.quiesce()
    assert (found.done, [reader.state for reader in found.readers]) == (False, ["stuck"])


def test_its_devices_are_not_idle_from_the_moment_that_it_is_asked(silent: Asked) -> None:
    assert silent.phase_of("g0") == "idle"
    silent.quiesce()
    assert silent.phase_of("g0") == "verifying"


def test_devices_that_somebody_has_need_force(asked: Asked) -> None:
    fleet = asked.node.fleet
    row = fleet.find("g1")
    fleet.imported[row] = phase.ALLOCATIONS.index(Allocation.LEASED)
    with pytest.raises(Refused, match="g1 by alice"):
        asked.quiesce()
    assert asked.sent == []
    asked.answers = [[AWAY, HOST]]
    found = asked.quiesce(request=QuiesceRequest(for_s=600.0, force=True))
    assert (found.done, found.held) == (True, ["g1"])


def test_a_node_that_is_unknown_or_away_is_told_apart(asked: Asked) -> None:
    with pytest.raises(Unknown, match="nowhere"):
        asked.quiesce("nowhere")
    asked.connected = False
    with pytest.raises(Unavailable, match="fallow-agent quiesce"):
        asked.quiesce()
    assert asked.phase_of("g0") == "idle"
