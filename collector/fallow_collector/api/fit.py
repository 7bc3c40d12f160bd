"""The route that says whether a request fits, where, and why not."""

from collections.abc import Sequence
from typing import Protocol

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from fallow_collector.api.caller import FromCaller
from fallow_collector.api.documents import errors
from fallow_proto import dispatch


class Fits(Protocol):
    def fit(self, request: dispatch.Request, sites: Sequence[str] = ()) -> dispatch.Fit:
        """sites: of which devices are looked at, empty: all. Raises BadQuery for a request that nothing could answer.
        """


@post(
    "/api/v1/fit", operation_id="fit", summary="Whether a request fits", sync_to_thread=False, status_code=200,
    responses=errors(400, 403),
)
def fit(
    fit: NamedDependency[SkipValidation[Fits]], caller: FromCaller, data: JSONBody[dispatch.Request]
) -> dispatch.Fit:
    """Devices that would be handed out now, or why not and what would have to change; nothing is reserved.

    Answered with 200 also when the request does not fit.
    """
    caller.of_sites(data.sites)
    return fit.fit(data, caller.sites)
