"""Leases as context managers: reserved at the start of a block, kept while it lasts, released at its end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from fallow_client.background import Background
from fallow_client.held import Desk, Held, Outcome, hold, outcome_of
from fallow_client.leasing import Term
from fallow_proto.dispatch import Lease


@contextmanager
def kept(
    lease: Lease, believed: Term, holder: str, connect: Callable[[], AbstractAsyncContextManager[Desk]]
) -> Iterator[Held[threading.Event]]:
    """For programs that wait: kept on a thread, over a connection of its own. Raises LeaseLost at the end."""
    held = Held(lease, believed, threading.Event())
    endings: list[asyncio.Future[Outcome]] = []
    ready = threading.Event()

    async def work() -> None:
        endings.append(asyncio.get_running_loop().create_future())
        ready.set()
        async with connect() as desk:
            await hold(desk, held, holder, endings[0])

    with Background(work, f"lease {lease.lease_id}") as background:
        ready.wait()

        def end(error: BaseException | None) -> None:
            background.call(lambda: endings[0].set_result(outcome_of(error)))
            background.join()

        try:
            yield held
        except BaseException as error:
            end(error)
            raise
        end(None)
    held.check_end()


@asynccontextmanager
async def kept_async(lease: Lease, believed: Term, holder: str, desk: Desk) -> AsyncIterator[Held[asyncio.Event]]:
    """The same, kept by a task. Raises LeaseLost at the end."""
    held = Held(lease, believed, asyncio.Event())
    ending: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    holding = asyncio.create_task(hold(desk, held, holder, ending), name=f"lease {lease.lease_id}")
    try:
        yield held
    except BaseException as error:
        ending.set_result(outcome_of(error))
        await asyncio.shield(holding)
        raise
    ending.set_result("ok")
    await asyncio.shield(holding)
    held.check_end()
