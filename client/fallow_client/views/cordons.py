"""Cordons, drains and windows of maintenance."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import duration, moment, plain, some
from fallow_proto import api
from fallow_proto.dispatch import Cordon, CordonResult

SHOWN = 20  # devices by name; whoever wants all takes --json


def result(answer: CordonResult, kind: str, dry_run: bool) -> Iterator[RenderableType]:
    """What was, or would be, taken out of what is offered."""
    for one in answer.cordons:
        yield Text(f"{plain(one.cordon_id)}: {_target(one)} {plain(one.kind)} by {plain(one.owner)}{_until(one)}")
    later = not dry_run and not any(one.active for one in answer.cordons)
    taken = f"{plain(kind)} would take" if dry_run else "from then on taken" if later else "taken"
    yield Text(f"{taken} out of what is offered: {some(len(answer.affected), 'device')}{_named(answer.affected)}")
    if answer.leased:
        yield Text(f"leased, and their leases go on: {some(len(answer.leased), 'device')}{_named(answer.leased)}")


def page(answer: api.Page[Cordon]) -> Iterator[RenderableType]:
    made = table("id", "target", "kind", "active", "owner", "reason", "when")
    for one in answer.items:
        add(made, (
            plain(one.cordon_id), _target(one), plain(one.kind), "yes" if one.active else "no", plain(one.owner),
            plain(one.reason), _until(one).strip() or "until lifted",
        ))
    yield made
    yield Text("")
    following = f"\nmore: --cursor {plain(answer.next)}" if answer.next is not None else ""
    yield Text(f"as of {plain(answer.as_of)}, {some(len(answer.items), 'cordon')}{following}")


def lifted(cordon_ids: Sequence[str]) -> Iterator[RenderableType]:
    for cordon_id in cordon_ids:
        yield Text(f"lifted {plain(cordon_id)}; its devices verify anew before they are offered")


def _target(one: Cordon) -> str:
    return plain(one.device) if one.device is not None else f"node {plain(one.node)}"


def _until(one: Cordon) -> str:
    if one.starts is not None or one.ends is not None:
        start = f" from {moment(one.starts)}Z" if one.starts is not None else ""
        return start + (f" until {moment(one.ends)}Z" if one.ends is not None else "")
    return f" for {duration(one.expires_in_s)}" if one.expires_in_s is not None else ""


def _named(uuids: Sequence[str]) -> str:
    if not uuids:
        return ""
    more = f" and {len(uuids) - SHOWN} more" if len(uuids) > SHOWN else ""
    return ": " + ", ".join(plain(uuid) for uuid in uuids[:SHOWN]) + more
