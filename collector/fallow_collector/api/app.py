"""The HTTP API as one ASGI application."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from fallow_collector.api import (
    alerts,
    cordons,
    enroll,
    fit,
    fleet,
    history,
    inventory,
    kubernetes,
    leases,
    ledgers,
    problems,
    quiesce,
    recording,
    scrape,
    watch,
)
from fallow_collector.api.answers import Answers
from fallow_collector.api.caller import caller_of, standing_of
from fallow_collector.api.documents import document
from fallow_collector.api.gate import Gate
from fallow_collector.api.query import BadQuery, no_others
from fallow_collector.api.tokens import Tokens
from fallow_collector.faulted import Faulted

MAX_BODY_BYTES = 2**20
HISTORY_THREADS = 2  # so many slow questions to the store at once; more of them wait

ROUTES = (
    fleet.capacity, fleet.totals, fleet.devices, fleet.device, fleet.explain, fleet.timeline, fleet.nodes,
    history.history,
    inventory.declare, inventory.retire, inventory.accept_baseline,
    scrape.metrics, scrape.device_metrics, scrape.healthz, scrape.readyz,
)

ROUTES_OF: dict[str, tuple[Any, ...]] = {
    "alerts": (
        alerts.alerts, alerts.rules, alerts.receivers, alerts.test, alerts.silences, alerts.silence, alerts.end_silence,
    ),
    "enrolment": (enroll.authority, enroll.enroll),
    "fit": (fit.fit,),
    "cordons": (cordons.cordon, cordons.listed, cordons.uncordon),
    "kubernetes": (kubernetes.filter_nodes, kubernetes.prioritize),
    "leases": (leases.reserve, leases.list_leases, leases.lease, leases.commit, leases.renew, leases.release),
    "ledgers": (ledgers.ledgers, ledgers.import_ledger, ledgers.delete_ledger),
    "quieter": (quiesce.quiesce, quiesce.resume),
    "recordings": (recording.recording,),
    "watches": (watch.watch,),
}
"""Routes that ask for a part of the collector, by the part's name."""


def make_app(
    answers: Answers, tokens: Tokens | None, version: str, loopback_only: bool = True, **parts: object
) -> ASGIApp:
    """The API over `answers`, for any ASGI server. parts: whoever else answers, by the names that routes ask for.

    tokens None: nobody has to say who they are, and then, unless `loopback_only` is off, only requests whose Host is a
    loopback name or address are answered.
    """
    executor = ThreadPoolExecutor(HISTORY_THREADS, thread_name_prefix="history")
    app = Litestar(
        [*ROUTES, *(route for name in parts for route in ROUTES_OF[name])],
        dependencies={
            "answers": Provide(lambda: answers, sync_to_thread=False),
            "caller": Provide(caller_of, sync_to_thread=False),
            "standing": Provide(standing_of, sync_to_thread=False),
            "executor": Provide(lambda: executor, sync_to_thread=False),
            "tokens": Provide(lambda: tokens, sync_to_thread=False),
            **{name: _giving(part) for name, part in parts.items()},
        },
        exception_handlers={
            **dict.fromkeys(problems.STATUS_OF, problems.of_own),
            Faulted: problems.of_fault,
            HTTPException: problems.of_http,
            RecursionError: problems.of_nesting,
            Exception: problems.of_unexpected,
        },
        before_request=_refuse_what_is_not_documented,
        on_shutdown=[lambda: executor.shutdown(wait=False, cancel_futures=True)],
        openapi_config=document(version, with_tokens=tokens is not None),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,  # the collector's logging is its own
    )
    return Gate(app, tokens, loopback_only)


def _giving(part: object) -> Provide:
    return Provide(lambda: part, sync_to_thread=False)


def _refuse_what_is_not_documented(request: problems.AnyRequest) -> None:
    """Parameters that /openapi.json does not name, and an empty body where it names one."""
    paths: Any = request.app.openapi_schema.paths
    operation = getattr(paths.get(request.scope["path_template"]), request.method.lower(), None)
    if operation is None:
        return
    allowed = [parameter.name for parameter in operation.parameters or () if parameter.param_in == "query"]
    no_others(request.query_params.keys(), allowed)
    if operation.request_body is not None and request.headers.get("content-length", "") == "0":
        raise BadQuery("the body is empty; expected JSON, see /openapi.json")
