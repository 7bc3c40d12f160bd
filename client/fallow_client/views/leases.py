"""Leases and their devices."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fallow_client.views.table import add, pairs, phase, table
from fallow_client.views.text import duration, moment, number, plain, some
from fallow_proto import api
from fallow_proto.dispatch import Lease, Member


def lease(answer: Lease) -> Iterator[RenderableType]:
    """One lease: what its holder needs to go on with it."""
    yield pairs([
        ("lease", plain(answer.lease_id)),
        ("fencing token", str(answer.fencing_token)),
        ("holder", plain(answer.holder)),
        ("state", phase(answer.state) + f" since {moment(answer.since)}Z, {_left(answer)}"),
        ("nodes", _told(answer)),
    ])
    yield Text("")
    yield members(answer.devices)


def page(answer: api.Page[Lease]) -> Iterator[RenderableType]:
    made = table("lease", "holder", "state", ">token", ">expires in", ">devices", "nodes")
    for one in answer.items:
        nodes = sorted({member.node for member in one.devices})
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        add(made, (
            plain(one.lease_id), plain(one.holder), phase(one.state), str(one.fencing_token),
            duration(one.expires_in_s), str(len(one.devices)), "".join(plain(node) for node in nodes[:1]) + more,
        ))
    yield made
    yield Text("")
    following = f"\nmore: --cursor {plain(answer.next)}" if answer.next is not None else ""
    yield Text(f"as of {plain(answer.as_of)}, {some(len(answer.items), 'lease')}{following}")


def members(devices: Sequence[Member]) -> Table:
    made = table("node", ">#", "PCI", "uuid")
    for one in devices:
        add(made, (plain(one.node), number(one.index), plain(one.pci_bus_id), plain(one.uuid)))
    return made


def _told(answer: Lease) -> str:
    """What of the lease has reached its nodes."""
    match answer.state, answer.fenced:
        case "reserved", _:
            return "hear of it when it is committed"
        case "releasing", fenced:
            return "have all heard that it has ended" if fenced else "have not all heard yet that it has ended"
        case _, True:
            return "have all confirmed the token"
        case _:
            return "have not all confirmed the token; those away are told when they are back"


def _left(answer: Lease) -> str:
    return "until seen clean" if answer.expires_in_s is None else f"expires in {duration(answer.expires_in_s)}"
