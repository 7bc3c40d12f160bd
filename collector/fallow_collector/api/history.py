"""The route that reads the store. The store may take its time, so it is asked in a thread of its own."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import SkipValidation

from fallow_collector.api import query
from fallow_collector.api.answers import Answers, Asked
from fallow_collector.api.caller import FromCaller, check_device
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import Columns, End, FromAnswers, Start, Step, Uuid
from fallow_proto import api

FromExecutor = NamedDependency[SkipValidation[ThreadPoolExecutor]]


@get(
    "/api/v1/history", operation_id="history", summary="Time series of a device",
    responses={
        200: ResponseSpec(api.History, description="The rows, oldest first", generate_examples=False),
        **errors(400, 404, 503),
    },
)
async def history(
    answers: FromAnswers,
    caller: FromCaller,
    executor: FromExecutor,
    uuid: Uuid,
    columns: Columns = None,
    start: Start = "-1h",
    end: End = "now",
    step: Step = "0",
) -> Response[bytes]:
    """Columns of one device from start to end, as they came or by steps; null where nothing is known."""
    check_device(caller, answers, uuid)
    asked = Asked(uuid, query.columns(columns), *query.span(start, end, step, time.time()))
    body = await asyncio.get_running_loop().run_in_executor(executor, _encoded, answers, asked)
    return Response(body, media_type="application/json")


def _encoded(answers: Answers, asked: Asked) -> bytes:
    """Encoding 100,000 rows takes long enough to belong in the thread too."""
    return msgspec.json.encode(answers.history(asked))
