"""The route that hands out what the collector judged, and out of what, so that it can be judged again elsewhere."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Protocol

from litestar import get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter, SkipValidation
from litestar.response import Stream

from fallow_collector.api.caller import FromStanding, while_standing
from fallow_collector.api.documents import errors


class Recordings(Protocol):
    def take(self, for_s: float) -> AsyncIterator[bytes]:
        """A file of gzip, as it is made. Raises Unavailable."""


FromRecordings = NamedDependency[SkipValidation[Recordings]]
Length = Annotated[float, QueryParameter(gt=0, le=3600, description="Seconds that are recorded.")]

_FILE: Any = ResponseSpec(bytes, media_type="application/gzip", description="A recording", generate_examples=False)


@get(
    "/api/v1/recording", operation_id="recording", summary="A recording", sync_to_thread=False,
    responses={200: _FILE, **errors(400, 503)},
)
def recording(recordings: FromRecordings, standing: FromStanding, for_s: Length = 60.0) -> Stream:
    """The whole state, and then all that goes into the judgement and comes out of it, for `fallow replay`.

    It names every device, owner and node. One recording at a time is made.
    """
    return Stream(
        while_standing(recordings.take(for_s), standing), media_type="application/gzip",
        headers={"content-disposition": 'attachment; filename="fallow-recording.gz"', "cache-control": "no-store"},
    )
