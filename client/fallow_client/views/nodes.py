"""Nodes and what their agents say of themselves."""

from collections import Counter
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import age, counts, moment, number, plain, standing
from fallow_proto import api

WELL = ("ok", "absent")  # absent: nothing of that vendor is there


_WIDE = 120  # columns of a terminal that has room for site, agent and spool


def page(answer: api.Page[api.Node], width: int) -> Iterator[RenderableType]:
    """A page of nodes, and the readers among them that are not well."""
    wide = width >= _WIDE
    more = ("site", "agent", ">spool") if wide else ()
    made = table("node", "freshness", ">age s", ">devices", "phases", ">skew s", *more)
    for node in answer.items:
        rest = (plain(node.site), plain(node.agent_version), number(node.spool_pending)) if wide else ()
        add(made, (
            plain(node.node), plain(node.freshness), age(node.age_ms), str(node.devices), counts(node.phases),
            number(node.clock_skew_s, digits=1), *rest,
        ))
    yield made
    for node in answer.items:
        for reader in node.readers:
            if reader.state not in WELL:
                since = f" since {moment(reader.since)}Z" if reader.since else ""
                yield Text(f"{plain(node.node)}: reader {plain(reader.name)} {plain(reader.state)}{since}: "
                           f"{plain(reader.message)}")
    yield Text("")
    missing = Counter(node.freshness for node in answer.items if node.freshness != "live")
    oldest = max((node.age_ms for node in answer.items if node.age_ms is not None), default=None)
    further = f"\nmore: --cursor {plain(answer.next)}" if answer.next is not None else ""
    yield Text(standing(answer.as_of, answer.complete, oldest, missing) + further)
