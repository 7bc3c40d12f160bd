"""What schedulers have said of their allocations."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import number, plain
from fallow_proto.dispatch import LedgerState


def ledgers(answer: Sequence[LedgerState]) -> Iterator[RenderableType]:
    if not answer:
        yield Text("no scheduler's ledger is imported; Fallow's own leases are the only one")
        return
    made = table("ledger", ">age s", "", ">nodes", ">devices", ">allocated")
    for one in answer:
        stale = Text("STALE: none is offered", style="yellow") if one.stale else ""
        add(made, (
            plain(one.name), number(one.age_s, digits=1), stale, str(one.nodes), str(one.devices), str(one.allocated),
        ))
    yield made
    for one in answer:
        for job in one.unmatched:
            yield Text(f"{plain(one.name)} does not fit the fleet: {plain(job)}")
