"""Fit as one would write it down: device by device, without arrays. What the real one is held against."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import isnan, nan
from typing import Any

import msgspec

from fallow_proto.catalogue import peak_flops
from fallow_proto.dispatch import Miss, Request
from fallow_proto.states import Health, Phase
from tests.collector.fit.fleets import Facts


def serves(one: Facts, request: Request) -> bool:
    free, room = one.limit_bytes - one.used_bytes, one.power_limit_watts - one.power_watts
    peak = nan if one.profile else peak_flops(one.vendor, one.model, request.precision, one.power_limit_watts)
    return (
        one.device_class == request.device_class
        and one.profile == request.partition_profile
        and (not request.vendor or one.vendor in request.vendor)
        and (not request.model or one.model in request.model)
        and (not request.sites or one.site in request.sites)
        and one.site not in request.exclude_sites
        and one.node not in request.exclude_nodes
        and (not request.peak_flops or (not isnan(peak) and peak >= request.peak_flops))
        and one.phase is Phase.IDLE
        and one.health in ((Health.OK,) if request.health == "ok" else (Health.OK, Health.DEGRADED))
        and (request.confidence == "low" or not one.low)
        and (not request.free_memory_bytes or (not isnan(free) and free >= request.free_memory_bytes))
        and (not request.power_headroom_watts or (not isnan(room) and room >= request.power_headroom_watts))
    )


def domain(one: Facts, same: str) -> object:
    """None: not known."""
    match same:
        case "":
            return "everywhere"
        case "node":
            return one.node
        case "link":
            return one.link or None
        case "rack":
            return (one.site, one.rack) if one.rack else None
        case "site":
            return one.site or None
        case "model":
            return (one.vendor, one.model) if one.model else None
        case _:
            raise AssertionError(same)


def satisfies(chosen: Sequence[Facts], request: Request) -> bool:
    domains = {domain(one, request.same) for one in chosen}
    on_nodes = Counter(one.node for one in chosen).values()
    return (
        len({one.uuid for one in chosen}) == request.count
        and all(serves(one, request) for one in chosen)
        and len(domains) == 1 and None not in domains
        and (not request.per_node or all(number == request.per_node for number in on_nodes))
    )


def possible(devices: Sequence[Facts], request: Request) -> bool:
    """By trying every choice."""
    serving = [one for one in devices if serves(one, request)]
    return any(satisfies(chosen, request) for chosen in combinations(serving, request.count))


def relaxed(miss: Miss, request: Request, devices: Sequence[Facts]) -> tuple[Request, list[Facts]]:
    """The request with what the miss says, or the devices after the wait that it speaks of."""
    assert miss.fits_at is not None
    if miss.relax == "wait":
        waited = miss.fits_at.split(",")
        return request, [replace(one, phase=Phase.IDLE) if one.phase in waited else one for one in devices]
    kind = type(getattr(request, miss.relax))
    value: Any = kind(miss.fits_at)
    if kind is list:
        value = miss.fits_at.split(",") if miss.fits_at else []
    return msgspec.structs.replace(request, **{miss.relax: value}), list(devices)
