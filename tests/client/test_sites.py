import asyncio
import json
import socket
from collections.abc import Iterator, Sequence

import pytest

from fallow_client import AsyncSites, NoCapacity, Request, Sites, Unreachable, Where
from fallow_client.across import best, side_by_side
from fallow_proto import api
from fallow_proto.dispatch import Change, Fit
from tests.client.dispatching import Dispatching, MemoryFit, told, watched
from tests.client.test_cli import command
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import serving

WITHIN_S = 4.0  # a busy machine takes a second for an answer


@pytest.fixture
def north() -> Dispatching:
    return Dispatching()


@pytest.fixture
def south() -> Dispatching:
    parts = Dispatching()
    for one in parts.answers.members[2:]:
        one.phase = "unmanaged"
    return parts


@pytest.fixture
def urls(north: Dispatching, south: Dispatching) -> Iterator[dict[str, str]]:
    with serving(north.app) as first, serving(south.app) as second:
        yield {"north": first, "south": second}


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_answers_stand_side_by_side_by_site(urls: dict[str, str]) -> None:
    with Sites(urls) as sites:
        assert list(sites) == ["north", "south"]
        found = sites.capacity(Where(device_class=("intelligent",)))
        assert {site: sum(group.idle for group in one.groups) for site, one in found.answers.items()} == {
            "north": 6, "south": 1,
        }
        assert (found.complete, found.missing) == (False, {})  # each view lacks an absent device
        assert [one.max_age_ms for one in found.sites] == [400, 400]
        assert len(sites.devices(limit=3).answers["south"].items) == 3
        assert len(sites.nodes().answers["north"].items) == 4
        assert sites.at("south").capacity().revision == 42


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_site_that_does_not_answer_in_time_is_named_and_never_a_zero(
    urls: dict[str, str], silent: str, asynchronous: bool
) -> None:
    three = {**urls, "west": silent}

    async def ask() -> None:
        async with AsyncSites(three, within_s=WITHIN_S) as sites:
            found.append(await sites.capacity())

    found = []
    if asynchronous:
        asyncio.run(ask())
    else:
        with Sites(three, within_s=WITHIN_S) as sites:
            found.append(sites.capacity())
    assert not found[0].complete
    assert list(found[0].answers) == ["north", "south"]
    assert found[0].missing == {"west": "no answer within 4 s; is the collector reachable from here?"}


def fits(nodes: int, largest: int = 8, max_age_ms: int = 400, confidence: str = "high", count: int = 1) -> Fit:
    made = MemoryFit(MemoryAnswers()).fit(Request(count=count))
    made.largest = largest
    if made.placement is not None:
        made.placement.nodes, made.placement.max_age_ms = nodes, max_age_ms
        made.placement.confidence = confidence
    return made


def test_the_best_site_is_the_surest_then_that_of_the_fewest_nodes_then_of_the_smallest_block() -> None:
    assert best(side_by_side({
        "low": fits(1, confidence="low"), "spread": fits(2), "large": fits(1, largest=64), "small": fits(1),
        "full": fits(1, count=99), "down": Unreachable("down"), "fresh": fits(1, max_age_ms=100),
    })) == ["fresh", "small", "large", "spread", "low"]


def test_an_answer_without_an_age_of_every_device_has_none() -> None:
    page = api.Page(items=MemoryAnswers().members, next=None, as_of="", complete=True)
    assert side_by_side({"north": page}).sites[0].max_age_ms is None


def test_devices_are_taken_at_the_best_site(urls: dict[str, str], north: Dispatching, south: Dispatching) -> None:
    with Sites(urls) as sites:
        placed = sites.reserve(Request(), holder="me")
        assert placed.site == "south"  # the smaller block, so that the larger one stays whole
        assert sites.at(placed.site).get_lease(placed.lease.lease_id).holder == "me"
        assert sites.reserve(Request(count=3)).site == "north"
    assert (len(north.leases.held), len(south.leases.held)) == (1, 1)


def test_a_site_where_somebody_was_quicker_is_passed_over(urls: dict[str, str], south: Dispatching) -> None:
    class Gone(MemoryFit):
        def fit(self, request: Request, sites: Sequence[str] = ()) -> Fit:
            made = super().fit(request)
            made.placement = None
            return made

    south.leases.fit = Gone(south.answers)
    with Sites(urls) as sites:
        assert sites.reserve(Request()).site == "north"


def test_no_capacity_is_only_said_when_every_site_has_said_so(urls: dict[str, str], silent: str) -> None:
    with Sites(urls) as sites, pytest.raises(NoCapacity, match="at north, where 6 would; it does not fit at south"):
        sites.reserve(Request(count=99))
    with (
        Sites({**urls, "west": silent}, within_s=WITHIN_S) as sites,
        pytest.raises(Unreachable, match="west did not answer"),
    ):
        sites.reserve(Request(count=99))


def test_the_same_calls_can_be_awaited(urls: dict[str, str]) -> None:
    async def work() -> None:
        async with AsyncSites(urls, token={"north": "secret"}) as sites:
            assert list(sites) == ["north", "south"]
            fit, devices, nodes = await asyncio.gather(sites.fit(Request(count=2)), sites.devices(), sites.nodes())
            assert best(fit) == ["north"]
            assert (list(devices.answers), list(nodes.answers)) == (["north", "south"], ["north", "south"])
            assert (await sites.reserve(Request(count=2))).site == "north"
            assert (await sites.at("north").leases()).items[0].lease_id == "L1"
            with pytest.raises(NoCapacity):
                await sites.reserve(Request(count=99))

    asyncio.run(work())


def test_all_sites_are_watched_at_once(urls: dict[str, str], north: Dispatching, south: Dispatching) -> None:
    north.watches.script += [[told("added", 1, watched("n1"), last=False), told("bookmark", 1, complete=True)]]
    south.watches.script += [[told("added", 1, watched("s1"), last=False), told("bookmark", 1, complete=True)]]

    async def watch() -> set[tuple[str, str]]:
        seen: set[tuple[str, str]] = set()
        async with AsyncSites({**urls, "west": "http://127.0.0.1:1"}) as sites:
            async for site, event in sites.watch():
                name = event.device.uuid if isinstance(event, Change) and event.device else event.kind
                seen.add((site, name))
                if len(seen) == 5:
                    break
        return seen

    assert asyncio.run(asyncio.wait_for(watch(), 60.0)) == {
        ("north", "n1"), ("north", "bookmark"), ("south", "s1"), ("south", "bookmark"), ("west", "cut"),
    }


def test_the_command_asks_all_collectors_that_are_named(urls: dict[str, str]) -> None:
    several = [word for url in urls.values() for word in ("--url", url)]
    shown = command("capacity", "--class", "intelligent", *several)
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    places = [url.removeprefix("http://") for url in urls.values()]
    assert [line for line in lines if line.startswith("at ")] == [f"at {place}" for place in places]
    assert lines[-4] == "idle in all: 7 of 25 intelligent"  # absent in the north, and there in the south
    assert lines[-3:] == ["2 of 2 collectors answered, INCOMPLETE"] + [
        f"{place}: INCOMPLETE, oldest evidence 0.4 s" for place in places
    ]
    for words in ("devices --phase idle", "nodes", "fit --count 2"):
        answer = command(*words.split(), "--json", FALLOW_URL=",".join(urls.values()))
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout)
        assert [one["site"] for one in found["sites"]] == places
        assert [one["error"] for one in found["sites"]] == ["", ""]


def test_the_command_does_not_say_no_capacity_for_a_site_that_is_silent(urls: dict[str, str]) -> None:
    down = command("capacity", "--vendor", "huawei", FALLOW_URL=f"{urls['north']},http://127.0.0.1:1")
    assert down.returncode == 1
    told = down.stdout.replace("\n", " ")
    assert "127.0.0.1:1: MISSING: the collector at http://127.0.0.1:1 cannot be reached" in told
    assert command("capacity", "--vendor", "huawei", FALLOW_URL=",".join(urls.values())).returncode == 3
    assert command("fit", "--count", "99", FALLOW_URL=",".join(urls.values())).returncode == 3
    assert command("fit", "--count", "99", FALLOW_URL=f"{urls['north']},http://127.0.0.1:1").returncode == 1
    assert command("reserve", "--count", "99", FALLOW_URL=",".join(urls.values())).returncode == 3
    assert command("reserve", "--count", "99", FALLOW_URL=f"{urls['north']},http://127.0.0.1:1").returncode == 1


def test_the_command_reserves_at_the_best_site(urls: dict[str, str], south: Dispatching) -> None:
    answer = command("reserve", "--holder", "me", "--json", FALLOW_URL=" ".join(urls.values()))
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["site"] == urls["south"].removeprefix("http://")
    assert list(south.leases.held) == ["L1"]


def test_commands_about_one_collector_refuse_several(urls: dict[str, str]) -> None:
    both = ",".join(urls.values())
    for words in ("device GPU-1", "leases", "devices --cursor x", "reserve --key k"):
        refused = command(*words.split(), FALLOW_URL=both)
        assert (refused.returncode, "expected one --url" in refused.stderr) == (2, True), refused.stderr
