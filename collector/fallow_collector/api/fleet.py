"""Routes that read the live state: capacity, devices, nodes, and why a device is in its phase."""

import time

from litestar import get
from litestar.params import FromPath

from fallow_collector.api.answers import Where
from fallow_collector.api.caller import Caller, FromCaller, check_device
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import (
    DEFAULT_LIMIT,
    Classes,
    Cursor,
    End,
    FromAnswers,
    Limit,
    Models,
    Nodes,
    Phases,
    PrecisionOfTotals,
    PrecisionsShown,
    Sites,
    Start,
    TotalKeys,
    Vendors,
)
from fallow_collector.api.query import CLASSES, PHASES, known, span, words
from fallow_proto import api
from fallow_proto.catalogue import PRECISIONS


@get("/api/v1/capacity", operation_id="capacity", summary="Idle capacity", sync_to_thread=False, responses=errors(400))
def capacity(
    answers: FromAnswers,
    caller: FromCaller,
    site: Sites = None,
    node: Nodes = None,
    device_class: Classes = None,
    vendor: Vendors = None,
    model: Models = None,
    precision: PrecisionsShown = None,
) -> api.Capacity:
    """What can be dispatched now, by groups of like devices, how old the evidence is, and whether it is complete."""
    precisions = known("precision", words(precision), PRECISIONS) or api.FLOPS_SHOWN
    return answers.capacity(_where(caller, site, node, device_class, vendor, model), precisions)


@get(
    "/api/v1/totals", operation_id="totals", summary="Capacity in devices, memory and FLOPS", sync_to_thread=False,
    responses=errors(400),
)
def totals(
    answers: FromAnswers,
    caller: FromCaller,
    by: TotalKeys = None,
    precision: PrecisionOfTotals = "fp16",
    site: Sites = None,
    node: Nodes = None,
    device_class: Classes = None,
    vendor: Vendors = None,
    model: Models = None,
) -> api.Totals:
    """Devices, memory and dense peak FLOPS at one precision, all and idle, summed by what `by` names. Classes are never
    added to one another."""
    known("precision", [precision], PRECISIONS)
    return answers.totals(
        _where(caller, site, node, device_class, vendor, model), known("by", words(by), api.TOTAL_KEYS), precision
    )


@get("/api/v1/devices", operation_id="devices", summary="Devices", sync_to_thread=False, responses=errors(400))
def devices(
    answers: FromAnswers,
    caller: FromCaller,
    site: Sites = None,
    node: Nodes = None,
    device_class: Classes = None,
    vendor: Vendors = None,
    model: Models = None,
    phase: Phases = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> api.Page[api.Device]:
    """Devices with their states and newest readings, sorted by uuid."""
    return answers.devices(_where(caller, site, node, device_class, vendor, model, phase), limit, cursor)


@get(
    "/api/v1/devices/{uuid:str}", operation_id="device", summary="A device", sync_to_thread=False,
    responses=errors(404),
)
def device(answers: FromAnswers, caller: FromCaller, uuid: FromPath[str]) -> api.DeviceDetail:
    """One device with its baseline and last events."""
    check_device(caller, answers, uuid)
    return answers.device(uuid)


@get(
    "/api/v1/devices/{uuid:str}/explain", operation_id="explain", summary="Why a device is in its phase",
    sync_to_thread=False, responses=errors(404),
)
def explain(answers: FromAnswers, caller: FromCaller, uuid: FromPath[str]) -> api.Explanation:
    """Every rule that was asked: what was found, what is expected, since when, and what would have to happen."""
    check_device(caller, answers, uuid)
    return answers.explain(uuid)


@get(
    "/api/v1/devices/{uuid:str}/timeline", operation_id="timeline", summary="What a device went through",
    sync_to_thread=False, responses=errors(400, 404),
)
def timeline(
    answers: FromAnswers, caller: FromCaller, uuid: FromPath[str], start: Start = "-24h", end: End = "now",
    limit: Limit = DEFAULT_LIMIT,
) -> api.Page[api.Moment]:
    """Events, incidents and changes of phase, newest first. `next` is the `end` of the page that follows. Incidents
    reach a day back; changes of phase are in memory, and `complete` says whether they reach back to `start`."""
    check_device(caller, answers, uuid)
    first, last, _ = span(start, end, "0", time.time())
    return answers.timeline(uuid, first, last, limit)


@get("/api/v1/nodes", operation_id="nodes", summary="Nodes", sync_to_thread=False, responses=errors(400))
def nodes(
    answers: FromAnswers,
    caller: FromCaller,
    site: Sites = None,
    node: Nodes = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> api.Page[api.Node]:
    """Nodes with their agents' state, sorted by name."""
    return answers.nodes(_where(caller, site, node), limit, cursor)


def _where(
    caller: Caller,
    site: list[str] | None,
    node: list[str] | None,
    device_class: list[str] | None = None,
    vendor: list[str] | None = None,
    model: list[str] | None = None,
    phase: list[str] | None = None,
) -> Where:
    return Where(
        site=caller.of_sites(words(site)),
        node=words(node),
        device_class=known("class", words(device_class), CLASSES),
        vendor=words(vendor),
        model=words(model),
        phase=known("phase", words(phase), PHASES),
    )
