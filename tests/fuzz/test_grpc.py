"""Frames that no agent of ours sends, over real gRPC to a real collector, beside an agent that means well."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import grpc
import psutil

from fallow_collector.ingest.server import SERVICE
from tests.collector.ingest.builders import hello, layout, report, reports
from tests.collector.program import PATIENCE_S, Agent, Program, running
from tests.fuzz.amount import inputs

STORED = Path(__file__).parents[1] / "data" / "wire" / "v1"
FROM_AGENTS = ("hello", "layout", "reports", "events", "fenced", "ledger", "processes")
FRAMES = [bytes.fromhex((STORED / f"{name}.hex").read_text()) for name in FROM_AGENTS]
FRAMES_A_STREAM = 20
HONEST_EVERY = 25  # streams
GROWTH = 256 << 20  # bytes; names that are new fill the state for good, within limits
ENDS = {
    grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED,
}


def mutated(frame: bytes, chance: random.Random) -> bytes:
    """The frame with some bytes flipped, cut out, repeated, or of another frame; or no frame at all."""
    data = bytearray(frame)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randrange(1, 9)]
            case 2:
                data[at:at] = data[at : at + chance.randrange(1, 65)]
            case 3:
                data[at:at] = chance.choice(FRAMES)
            case 4 if at < len(data):
                data[at] = chance.choice((0, 0x7F, 0x80, 0xFF))
            case _:
                data[at:] = chance.randbytes(chance.randrange(33))
    return bytes(data)


def any_frame(chance: random.Random) -> bytes:
    if chance.random() < 0.2:
        return chance.randbytes(chance.randrange(99))
    return mutated(chance.choice(FRAMES), chance)


def fuzzed(channel: grpc.Channel, frames: list[bytes]) -> grpc.StatusCode:
    """How a stream ends over which an agent's greeting and then these come."""
    greeting = [message.SerializeToString() for message in (hello("fuzzed"), layout("fuzzed"))]
    call = channel.stream_stream(f"/{SERVICE}/Stream")(chain(greeting, iter(frames)), timeout=PATIENCE_S)
    with contextlib.suppress(grpc.RpcError):
        for _ in call:
            pass
    code: grpc.StatusCode = call.code()
    return code


def honest_numbers(agent: Agent) -> Iterator[int]:
    """Each time, a report of the honest agent that was stored."""
    number = 0
    while True:
        number += 1
        agent.say(reports(report(number, time_ms=time.time_ns() // 1_000_000), node="honest"))
        agent.hear("ack")
        yield number


def test_no_frame_ends_more_than_its_own_stream(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, tried, ends = random.Random(20_000), 0, set[grpc.StatusCode]()
    with running(Program(tmp_path / "collector")) as program, grpc.insecure_channel(program.grpc) as channel:
        agent = Agent(program.grpc)
        agent.say(hello("honest"), layout("honest"))
        agent.hear("welcome")
        stored = honest_numbers(agent)
        next(stored)
        process = psutil.Process(program.process.pid)
        before = process.memory_info().rss
        for stream in range(inputs(100, 20_000)):
            frames = [any_frame(chance) for _ in range(FRAMES_A_STREAM)]
            tried += len(frames)
            ends.add(fuzzed(channel, frames))
            if stream % HONEST_EVERY == 0:
                next(stored)
        assert next(stored) > 1
        assert process.memory_info().rss - before < GROWTH
        assert program.process.poll() is None
        refused = program.get("/metrics").text
        agent.close()
    record_property("fuzzed", tried)
    assert ends <= ENDS, ends
    assert grpc.StatusCode.INVALID_ARGUMENT in ends
    assert "fallow_ingest_refused_total{" in refused
    log = program.log.read_text()
    assert "BUG" not in log
    assert "Traceback" not in log
