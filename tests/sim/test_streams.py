"""Simulated nodes over real gRPC."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fallow_proto.codec import encode_ranges
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.cohort import Cohort
from fallow_sim.profiles import PROFILES, assign
from fallow_sim.progress import Progress
from fallow_sim.rhythm import cohorts, of_fleet
from fallow_sim.run import Target, play
from tests.sim.server import Server, serving, until

INTERVAL_S = 0.1


async def run(
    port: int, script: Callable[[Progress, list[Cohort]], Coroutine[Any, Any, None]], nodes: int = 4
) -> Progress:
    """Play a fleet of two devices a node, until the script has ended."""
    start = time.time()
    fleet = cohorts(
        assign({"nvidia": 1, "metax": 1}, nodes), 2, site="here", seed=1, interval_s=INTERVAL_S, start=start
    )
    progress, stop = Progress(), asyncio.Event()
    playing = asyncio.create_task(play(
        of_fleet(fleet, start), start, [node for cohort in fleet for node in cohort.nodes],
        Target(f"127.0.0.1:{port}", None, 2), progress, stop=stop, say=lambda _: None, seed=random.randrange(1000),
    ))
    try:
        await script(progress, fleet)
    finally:
        stop.set()
        await playing
    return progress


def seqs(server: Server, epoch: str, lane: "pb.Lane.ValueType" = pb.LANE_JUDGED) -> list[int]:
    return [r.seq for batch in server.batches if (batch.epoch, batch.lane) == (epoch, lane) for r in batch.reports]


def test_every_node_says_hello_then_its_layout_then_every_report_once_and_hears_that_it_is_stored() -> None:
    async def scenario() -> None:
        server = Server()

        async def script(progress: Progress, fleet: list[Cohort]) -> None:
            await until(lambda: progress.acked >= 40)
            assert progress.connected == 4

        async with serving(server) as port:
            progress = await run(port, script)
        assert sorted(hello.node for hello in server.hellos) == [f"sim-{n:05d}" for n in range(4)]
        assert {hello.site for hello in server.hellos} == {"here"}
        for hello in server.hellos:
            said = seqs(server, hello.epoch)
            assert said == list(range(1, len(said) + 1))
        for batch in server.batches:
            assert batch.layout in server.layouts
        assert progress.refused == progress.reconnects == 0
        assert progress.sent >= progress.acked >= 40
        assert progress.latencies.count == progress.acked
        assert progress.summary()["acked"] == progress.acked

    asyncio.run(scenario())


def test_a_cut_in_the_wire_is_closed_from_evidence_without_a_gap() -> None:
    async def scenario() -> None:
        first, second = Server(), Server()

        async def script(progress: Progress, fleet: list[Cohort]) -> None:
            nonlocal port
            await until(lambda: progress.acked >= 20)
            await cut.__aexit__(None, None, None)
            second.judged, second.stored = first.judged, first.stored
            async with serving(second, port):
                await until(lambda: len(second.batches) >= 12 and len(second.hellos) == 4)

        cut = serving(first)
        port = await cut.__aenter__()
        progress = await run(port, script)
        assert progress.reconnects >= 4
        for hello in second.hellos:
            # What was on its way when the wire was cut may be missing on the first, and then comes to the second.
            said = seqs(first, hello.epoch) + seqs(second, hello.epoch)
            assert sorted(set(said)) == list(range(1, max(said) + 1))

    asyncio.run(scenario())


def test_reports_older_than_the_evidence_follow_in_the_backlog() -> None:
    async def scenario() -> None:
        silent, server = Server(acknowledges=False), Server()

        async def script(progress: Progress, fleet: list[Cohort]) -> None:
            await until(lambda: all(cohort.nodes[0].newest >= 30 for cohort in fleet))
            await cut.__aexit__(None, None, None)
            async with serving(server, port):
                await until(lambda: len(server.stored) == 2 and not any(
                    list(stored.missing(1, 30)) for stored in server.stored.values()
                ))

        cut = serving(silent)
        port = await cut.__aenter__()
        await run(port, script, nodes=2)
        for hello in server.hellos:
            late = seqs(server, hello.epoch, pb.LANE_BACKLOG)
            assert late == list(range(1, late[-1] + 1))
            assert min(seqs(server, hello.epoch)) == late[-1] + 1  # evidence begins where the backlog ends

    asyncio.run(scenario())


def test_refusals_are_counted_and_what_a_store_lost_is_sent_again() -> None:
    async def scenario() -> None:
        server = Server()

        async def script(progress: Progress, fleet: list[Cohort]) -> None:
            await until(lambda: len(server.hellos) == 1 and progress.acked >= 5)
            epoch = server.hellos[0].epoch
            server.order.append(pb.ToAgent(resend=pb.Resend(lost=encode_ranges({epoch: [(2, 3)]}))))
            await until(lambda: seqs(server, epoch, pb.LANE_BACKLOG) == [2, 3])
            server.order.append(pb.ToAgent(
                refuse=pb.Refuse(refused=encode_ranges({epoch: [(9_000, 9_001)]}), reason="from the future")
            ))
            await until(lambda: progress.refused == 2)
            assert progress.refusal == "from the future"
            assert "refused=2" in progress.line()

        async with serving(server) as port:
            await run(port, script, nodes=1)

    asyncio.run(scenario())


def test_nobody_listening_is_said_and_tried_again() -> None:
    async def scenario() -> None:
        async with serving(Server()) as port:
            pass

        async def script(progress: Progress, fleet: list[Cohort]) -> None:
            await until(lambda: progress.reconnects >= 2)
            assert "UNAVAILABLE" in progress.line()
            async with serving(Server(), port):
                await until(lambda: progress.acked > 0)
            assert "failure" not in progress.line() or progress.connected == 0

        await run(port, script, nodes=1)

    asyncio.run(scenario())


@pytest.mark.parametrize("vendor", PROFILES)
def test_names_of_vendors_are_lower_case(vendor: str) -> None:
    assert PROFILES[vendor].vendor == vendor == vendor.lower()


def test_a_fence_is_answered_over_the_stream() -> None:
    fence = pb.DeviceFence(device="d", token=7, held=True)

    async def scenario() -> None:
        server = Server()
        server.order = [pb.ToAgent(fence=pb.Fence(fences=[fence]))]
        async with serving(server) as port:

            async def script(progress: Progress, fleet: list[Cohort]) -> None:
                await until(lambda: server.fenced)

            await run(port, script)
        assert server.fenced == [pb.Fenced(fences=[fence])]

    asyncio.run(scenario())
