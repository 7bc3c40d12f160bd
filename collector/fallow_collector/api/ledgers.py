"""Routes for ledgers of schedulers: what they have allocated is imported here, as a whole each time."""

from collections.abc import Iterable
from math import isfinite
from typing import Protocol

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, SkipValidation

from fallow_collector.api.documents import errors
from fallow_collector.api.query import BadQuery
from fallow_collector.ledgers.name import complaint_about
from fallow_proto import dispatch

MAX_TEXT = 256
MAX_BODY_BYTES = 32 * 2**20  # some 100,000 jobs


class Ledgers(Protocol):
    def ledgers(self) -> list[dispatch.LedgerState]:
        """Sorted by name."""

    async def take(self, name: str, taken: dispatch.LedgerImport) -> dispatch.LedgerState:
        """Raises Refused for one that is older than what was taken already, and Unavailable."""

    async def give_back(self, name: str) -> None:
        """Raises Unknown, Unavailable."""


FromLedgers = NamedDependency[SkipValidation[Ledgers]]


@get("/api/v1/ledgers", operation_id="ledgers", summary="Ledgers of schedulers", sync_to_thread=False)
def ledgers(ledgers: FromLedgers) -> list[dispatch.LedgerState]:
    """Whose allocations are imported, how old they are, and what of them does not fit the fleet."""
    return ledgers.ledgers()


@put(
    "/api/v1/ledgers/{name:str}", operation_id="import_ledger", summary="Import a scheduler's allocations",
    responses=errors(400, 409, 503), request_max_body_size=MAX_BODY_BYTES,
)
async def import_ledger(
    ledgers: FromLedgers, name: FromPath[str], data: JSONBody[dispatch.LedgerImport]
) -> dispatch.LedgerState:
    """Everything that the scheduler has allocated. What is missing is free; nodes that are missing are given back."""
    check_name(name)
    check(data)
    return await ledgers.take(name, data)


@delete(
    "/api/v1/ledgers/{name:str}", operation_id="delete_ledger", summary="Give back all devices of a ledger",
    responses=errors(400, 404, 503),
)
async def delete_ledger(ledgers: FromLedgers, name: FromPath[str]) -> None:
    """The scheduler owns nothing any more: its devices are Fallow's to hand out."""
    check_name(name)
    await ledgers.give_back(name)


def check_name(name: str) -> None:
    """Raises BadQuery."""
    if complaint := complaint_about(name):
        raise BadQuery(complaint)


def check(taken: dispatch.LedgerImport) -> None:
    """Raises BadQuery where the import contradicts itself; half of one is never taken."""
    if not (isfinite(taken.age_s) and taken.age_s >= 0):
        raise BadQuery(f"age_s={taken.age_s}: expected the seconds since the scheduler was read, 0 or more")
    nodes = set()
    for position, owned in enumerate(taken.nodes):
        where = f"nodes[{position}].node={owned.node!r}"
        _check_texts(f"nodes[{position}]", (owned.node,), (owned.problem,))
        if owned.node in nodes:
            raise BadQuery(f"{where}: is there twice; expected each node once")
        nodes.add(owned.node)
        _check_minors(where, owned.minors or ())
    devices = set()
    for position, job in enumerate(taken.jobs):
        where = f"jobs[{position}] ({job.holder!r})"
        _check_texts(where, (job.node, job.holder), (job.uuid, job.pci_bus_id, job.job))
        if job.uid is not None and job.uid < 0:
            raise BadQuery(f"{where}: uid {job.uid}; expected 0 or more")
        if job.node not in nodes:
            raise BadQuery(f"{where}: its node {job.node!r} is not in nodes; expected every node of a job there")
        if not job.uuid and not job.pci_bus_id and job.minor is None:
            raise BadQuery(f"{where}: names no device; expected uuid, pci_bus_id or minor")
        _check_minors(where, () if job.minor is None else (job.minor,))
        device = (job.node, job.uuid, job.pci_bus_id, job.minor)
        if device in devices:
            raise BadQuery(f"{where}: its device is allocated twice; expected each device of a node once")
        devices.add(device)


def _check_texts(where: str, needed: Iterable[str], optional: Iterable[str]) -> None:
    for text in needed:
        if not text:
            raise BadQuery(f"{where}: an empty node or holder; expected 1 to {MAX_TEXT} printable characters")
    for text in (*needed, *optional):
        if len(text) > MAX_TEXT or not text.isprintable():
            raise BadQuery(f"{where}: {text[:MAX_TEXT]!r}; expected at most {MAX_TEXT} printable characters")


def _check_minors(where: str, minors: Iterable[int]) -> None:
    seen = set()
    for minor in minors:
        if minor < 0:
            raise BadQuery(f"{where}: minor {minor}; expected 0 or more")
        if minor in seen:
            raise BadQuery(f"{where}: minor {minor} is there twice; expected each once")
        seen.add(minor)
