"""Routes for Prometheus, and those that say whether the collector lives and works."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import SkipValidation
from litestar.response import Stream

from fallow_collector.api.answers import Answers, Where
from fallow_collector.api.caller import FromCaller
from fallow_collector.api.documents import errors
from fallow_collector.api.exposition import CONTENT_TYPE, Sample, render
from fallow_collector.api.families import capacity_samples
from fallow_collector.api.parameters import FromAnswers, OneNode, OneSite
from fallow_collector.api.problems import response
from fallow_collector.api.tokens import Tokens

FromTokens = NamedDependency[SkipValidation[Tokens | None]]

_TEXT: Any = ResponseSpec(
    str, media_type="text/plain", description="Text", generate_examples=False,
)


@get(
    "/metrics", operation_id="metrics", summary="Metrics of the collector and of capacity", sync_to_thread=False,
    responses={200: _TEXT},
)
def metrics(answers: FromAnswers, caller: FromCaller) -> Response[bytes]:
    """Prometheus text: the collector's own numbers and capacity by group; with a token of some sites, their capacity
    only."""
    own = () if caller.sites else [Sample(*sample) for sample in answers.own_metrics()]
    capacity = answers.capacity(Where(site=caller.sites))
    return Response(render((*own, *capacity_samples(capacity))), media_type=CONTENT_TYPE)


@get(
    "/metrics/devices", operation_id="device_metrics", summary="Metrics of the devices", sync_to_thread=False,
    responses={200: _TEXT},
)
def device_metrics(answers: FromAnswers, caller: FromCaller, site: OneSite = "", node: OneNode = "") -> Stream:
    """Prometheus text: the newest readings of the devices."""
    where = Where(site=caller.of_sites((site,) if site else ()), node=(node,) if node else ())
    return Stream(_chunks(answers, where), media_type=CONTENT_TYPE)


@get("/healthz", operation_id="healthz", summary="Whether the collector lives", sync_to_thread=False,
     responses={200: _TEXT}, media_type="text/plain")
def healthz() -> str:
    """Answers as long as the collector's loop turns."""
    return "ok\n"


@get("/readyz", operation_id="readyz", summary="Whether the collector can do its work", sync_to_thread=False,
     responses={200: _TEXT, **errors(503)})
def readyz(answers: FromAnswers, tokens: FromTokens) -> Response[bytes]:
    """503 with the reasons while something keeps the collector from its work."""
    reasons = answers.readiness()
    if tokens is not None and tokens.problem:
        reasons = [*reasons, tokens.problem]
    if reasons:
        return response(503, "; ".join(reasons))
    return Response(b"ready\n", media_type="text/plain")


async def _chunks(answers: Answers, where: Where) -> AsyncIterator[bytes]:
    """A large fleet's text is rendered piece by piece, and other requests are answered in between."""
    for chunk in answers.device_metrics(where):
        yield chunk
        await asyncio.sleep(0)
