"""What holds of fit for any fleet and any request."""

from dataclasses import replace
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fallow_collector.fit.fit import fit
from fallow_collector.fit.request import wrong
from fallow_proto.dispatch import Request
from fallow_proto.states import Health, Phase
from tests.collector.fit.fleets import A100, GIB, H100, NAN, ODD, Built, Facts
from tests.collector.fit.naive import possible, relaxed, satisfies, serves

NODES = [  # name, site, rack
    ("n0", "s0", "r0"), ("n1", "s0", "r0"), ("n2", "s0", ""), ("n3", "s1", "r0"),
]
ODDITIES = st.sampled_from([  # what may be different of a device
    {"phase": Phase.VERIFYING}, {"phase": Phase.RELEASING}, {"phase": Phase.UNMANAGED}, {"phase": Phase.UNKNOWN},
    {"health": Health.DEGRADED}, {"low": True}, {"profile": "1g.10gb"}, {"device_class": "general"},
    {"vendor": "nvidia", "model": H100}, {"vendor": "other", "model": ODD, "limit_bytes": 32 * GIB},
    {"vendor": "other"}, {"limit_bytes": NAN}, {"used_bytes": 30 * GIB}, {"used_bytes": 1.5 * GIB + 0.5},
    {"used_bytes": NAN}, {"power_watts": 390.5}, {"power_watts": 310.0}, {"power_watts": NAN}, {"age_s": 2.5},
    {"vendor": "metax", "model": "MXC500", "power_limit_watts": 450.0}, {"power_limit_watts": 350.0},
    {"link": ""}, {"link": "wide"}, {"vendor": ""}, {"model": ""},
])


@st.composite
def a_device(draw: st.DrawFn, number: int) -> Facts:
    node, site, rack = draw(st.sampled_from(NODES))
    one = Facts(f"u{(number * 37) % 100:02}", node=node, site=site, rack=rack, link=f"{node}-{number % 2}")
    for odd in draw(st.lists(ODDITIES, max_size=2)):
        one = replace(one, **odd)  # type: ignore[arg-type]
    return one


@st.composite
def fleets(draw: st.DrawFn) -> list[Facts]:
    return [draw(a_device(number)) for number in range(draw(st.integers(0, 9)))]


DEMANDS = st.sampled_from([
    {"per_node": 1}, {"per_node": 2}, {"per_node": 3}, {"same": "link"}, {"same": "node"}, {"same": "rack"},
    {"same": "site"}, {"same": "model"}, {"vendor": ["nvidia"]}, {"vendor": ["other", "nobody"]}, {"model": [A100]},
    {"model": [H100, "A100"]}, {"free_memory_bytes": int(60 * GIB)}, {"free_memory_bytes": int(79 * GIB)},
    {"free_memory_bytes": int(200 * GIB)}, {"peak_flops": 1e14}, {"peak_flops": 5e14}, {"peak_flops": 2.5e14},
    {"peak_flops": 1e14, "precision": "fp8"}, {"health": "ok"}, {"power_headroom_watts": 50.0},
    {"power_headroom_watts": 339.5}, {"confidence": "low"}, {"sites": ["s0"]}, {"sites": ["s1", "s9"]},
    {"exclude_sites": ["s0"]}, {"exclude_sites": ["s1"]}, {"exclude_nodes": ["n0"]}, {"exclude_nodes": ["n0", "n1"]},
    {"partition_profile": "1g.10gb"}, {"device_class": "general"}, {"device_class": "super"},
])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    asked: dict[str, object] = {"count": draw(st.integers(1, 5))}
    for demand in draw(st.lists(DEMANDS, max_size=3)):
        asked |= demand
    return Request(**asked)  # type: ignore[arg-type]


REQUESTS = requests().filter(lambda request: not wrong(request))


@given(fleets(), REQUESTS)
def test_it_fits_exactly_if_some_choice_does_and_what_is_chosen_does(devices: list[Facts], request: Request) -> None:
    built = Built(devices, request.device_class)
    answer = fit(built.offer, request)
    chosen = [built.by_row[row] for row in built.offer.rows[answer.chosen].tolist()]
    assert bool(chosen) == possible(devices, request) == (answer.largest >= request.count)
    if chosen:
        assert satisfies(chosen, request)
        assert answer.nearest == []


@given(fleets(), REQUESTS)
def test_every_device_is_counted_once(devices: list[Facts], request: Request) -> None:
    built = Built(devices, request.device_class)
    answer = fit(built.offer, request)
    of_class = [one for one in devices if one.device_class == request.device_class]
    known = [one for one in of_class if serves(one, request)]
    assert answer.eligible + sum(short.devices for short in answer.short) == len(of_class)
    assert answer.eligible <= len(known)
    if request.same in ("", "node"):
        assert answer.eligible == len(known)
    assert all(short.devices > 0 for short in answer.short)
    assert len({short.reason for short in answer.short}) == len(answer.short)


@given(fleets(), REQUESTS)
def test_the_largest_count_fits_and_no_larger_one_does(devices: list[Facts], request: Request) -> None:
    largest = fit(Built(devices, request.device_class).offer, request).largest
    for count in range(1, len(devices) + 2):
        if not request.per_node or count % request.per_node == 0:
            assert possible(devices, msgspec.structs.replace(request, count=count)) == (count <= largest)


@given(fleets(), REQUESTS)
def test_the_nearest_miss_fits_when_it_is_asked_for(devices: list[Facts], request: Request) -> None:
    misses = fit(Built(devices, request.device_class).offer, request).nearest
    for miss in misses:
        if miss.fits_at is not None:
            other, later = relaxed(miss, request, devices)
            then = fit(Built(later, request.device_class).offer, other)
            assert len(then.chosen) == other.count, miss
            assert then.largest == miss.then, miss
    assert len({miss.fits_at is None for miss in misses}) <= 1


@given(fleets(), REQUESTS)
def test_a_larger_threshold_than_the_nearest_miss_does_not_fit(devices: list[Facts], request: Request) -> None:
    for miss in fit(Built(devices, request.device_class).offer, request).nearest:
        if miss.relax in ("free_memory_bytes", "peak_flops", "power_headroom_watts") and miss.fits_at is not None:
            asked = getattr(request, miss.relax)
            higher = type(asked)(miss.fits_at) + 1
            if higher <= asked:
                other = msgspec.structs.replace(request, **{miss.relax: higher})
                assert not possible(devices, other)


@given(fleets(), REQUESTS, st.randoms(use_true_random=False))
def test_the_order_in_which_devices_came_does_not_matter(
    devices: list[Facts], request: Request, random: Random
) -> None:
    shuffled = list(devices)
    random.shuffle(shuffled)
    one, other = Built(devices, request.device_class), Built(shuffled, request.device_class)
    first, second = fit(one.offer, request), fit(other.offer, request)
    assert one.uuids(first.chosen) == other.uuids(second.chosen)
    assert first.nearest == second.nearest
    for ours, theirs in zip(first.short, second.short, strict=True):
        assert (ours.reason, ours.devices) == (theirs.reason, theirs.devices)
        assert one.facts[one.offer.rows[ours.example]] == other.facts[other.offer.rows[theirs.example]]


LOST = st.sampled_from([
    {"used_bytes": NAN}, {"limit_bytes": NAN}, {"power_watts": NAN}, {"link": ""}, {"model": ""}, {"vendor": ""},
    {"phase": Phase.UNKNOWN}, {"low": True}, {"health": Health.UNKNOWN, "phase": Phase.UNKNOWN},
])


@given(fleets(), REQUESTS, st.data())
def test_losing_data_never_makes_it_fit(devices: list[Facts], request: Request, data: st.DataObject) -> None:
    before = fit(Built(devices, request.device_class).offer, request).largest
    lost = [replace(one, **data.draw(LOST)) if data.draw(st.booleans()) else one for one in devices]
    kept = [one for one in lost if data.draw(st.booleans())]
    racks_lost = [replace(one, rack="") for one in kept]
    for fewer in (lost, kept, racks_lost):
        assert fit(Built(fewer, request.device_class).offer, request).largest <= before
