"""Alerts, their rules, and who is told of them."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import counts, duration, moment, plain, some
from fallow_proto import alerts as shapes
from fallow_proto import api

_STYLE = {"critical": "red", "warning": "yellow"}


def page(answer: api.Page[shapes.Alert]) -> Iterator[RenderableType]:
    """What it is, since when and where; what nobody is told of says why."""
    made = table("state", "severity", "rule", "where", "since", "what")
    for one in answer.items:
        add(made, (
            _state(one), _severity(one), plain(one.rule), plain(one.labels.get("node") or one.labels.get("site")),
            moment(one.firing_since or one.active_since, answer.as_of), plain(one.annotations.get("summary")),
        ))
    yield made
    yield Text("")
    states: dict[str, int] = {}
    for one in answer.items:
        states[one.state] = states.get(one.state, 0) + 1
    untold = sum(bool(one.silenced_by or one.inhibited_by) for one in answer.items)
    quiet = f", of which nobody is told of {untold}" if untold else ""
    whole = "" if answer.complete else ", INCOMPLETE: not every rule could be evaluated (fallow alerts rules)"
    more = f"\nmore: --cursor {plain(answer.next)}" if answer.next is not None else ""
    yield Text(f"as of {plain(answer.as_of)}: {counts(states) or 'no alert'}{quiet}{whole}{more}")


def rules(answer: api.Page[shapes.AlertRule]) -> Iterator[RenderableType]:
    made = table("rule", "severity", "for", "of", "condition", ">firing", ">pending")
    for one in answer.items:
        add(made, (
            plain(one.name), plain(one.severity), duration(one.for_s), plain(one.over), plain(one.expr),
            str(one.firing), str(one.pending),
        ))
    yield made
    yield Text("")
    for one in answer.items:
        if one.problem is not None:
            yield Text(f"{plain(one.name)} ({plain(one.where)}) cannot be evaluated: {plain(one.problem)}", style="red")
    yield Text(f"as of {plain(answer.as_of)}, {some(len(answer.items), 'rule')}")


def receivers(answer: api.Page[shapes.AlertReceiver]) -> Iterator[RenderableType]:
    made = table("receiver", "type", "address", ">waiting", ">given up", "delivered")
    for one in answer.items:
        add(made, (
            plain(one.name), plain(one.type), plain(one.address), str(one.waiting), str(one.dead),
            moment(one.delivered_at, answer.as_of),
        ))
    yield made
    yield Text("")
    for one in answer.items:
        if one.problem is not None:
            yield Text(f"{plain(one.name)} fails: {plain(one.problem)}", style="red")
    yield Text(f"as of {plain(answer.as_of)}, {some(len(answer.items), 'receiver')}")


def tested(answer: shapes.AlertTested) -> Iterator[RenderableType]:
    status = f", status {answer.status}" if answer.status is not None else ""
    told = "delivered" if answer.delivered else f"NOT delivered: {plain(answer.message)}"
    yield Text(f"{plain(answer.receiver)}: {told}{status}, after {answer.took_ms / 1000:.1f} s")


def _state(one: shapes.Alert) -> str:
    """The state, and why nobody is told of it, or that it may be over."""
    notes = [
        word for word, holds in (
            ("silenced", one.silenced_by), ("inhibited", one.inhibited_by), ("not known now", not one.known)
        ) if holds
    ]
    return plain(one.state) + (f" ({', '.join(notes)})" if notes else "")


def _severity(one: shapes.Alert) -> Text:
    severity = one.labels.get("severity")
    return Text(plain(severity), style=_STYLE.get(severity or "", ""))
