"""The route that tells what changes, as it changes."""

from collections.abc import AsyncIterator
from typing import Annotated, Protocol

from litestar import get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter, SkipValidation
from litestar.response import Stream

from fallow_collector.api.answers import Where
from fallow_collector.api.caller import FromCaller, FromStanding, while_standing
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import Classes, Models, Nodes, Phases, Sites, Vendors
from fallow_collector.api.query import CLASSES, PHASES, BadQuery, known, words
from fallow_proto.dispatch import Change


class Watches(Protocol):
    def join(self, where: Where, resume: tuple[str, int] | None, who: str = "") -> AsyncIterator[bytes]:
        """Server-sent events: a list and then changes or, after an epoch's revision, changes. who: the token's name.
        Raises Unavailable."""


FromWatches = NamedDependency[SkipValidation[Watches]]

_RESUME = "`epoch:revision`: tell what changed after it, instead of the list."
Resume = Annotated[str, QueryParameter(max_length=128, description=_RESUME)]
LastEventId = Annotated[
    str, HeaderParameter(name="Last-Event-ID", max_length=128, description=f"{_RESUME} It wins over resume.")
]


@get(
    "/api/v1/watch", operation_id="watch", summary="Changes of devices", sync_to_thread=False,
    responses={
        200: ResponseSpec(
            Change, media_type="text/event-stream", description="The data of each event", generate_examples=False
        ),
        **errors(400, 503),
    },
)
def watch(
    watches: FromWatches,
    caller: FromCaller,
    standing: FromStanding,
    site: Sites = None,
    node: Nodes = None,
    device_class: Classes = None,
    vendor: Vendors = None,
    model: Models = None,
    phase: Phases = None,
    resume: Resume = "",
    last_event_id: LastEventId = "",
) -> Stream:
    """Server-sent events: every device that matches as "added", a bookmark, and then what changes, as it changes.

    A bookmark comes at least every 10 s; the id of an event is where a watch may be resumed. "resync" says that what
    came after the given id is not known any more: ask again without one. A slow reader is told the newest state only.
    It ends within 10 s when its token does not hold any more.
    """
    where = Where(
        caller.of_sites(words(site)), words(node), known("class", words(device_class), CLASSES), words(vendor),
        words(model), known("phase", words(phase), PHASES),
    )
    events = while_standing(watches.join(where, resumed(last_event_id or resume), caller.name), standing)
    return Stream(events, media_type="text/event-stream", headers={"cache-control": "no-store"})


def resumed(text: str) -> tuple[str, int] | None:
    """Epoch and revision of `epoch:revision`; None: begin with the list. Raises BadQuery."""
    if not text:
        return None
    epoch, _, revision = text.rpartition(":")
    if not epoch or not (revision.isascii() and revision.isdigit()):
        raise BadQuery(f"resume={text}: expected epoch:revision, the id of an event of an earlier watch")
    return epoch, int(revision)
