"""Connections that are cut or falsified at every byte of a session, and slow ones: nothing is lost or doubled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.agent.certificates import Authority
from tests.e2e.programs import until
from tests.faults.programs import QUICK, Scene, dialling_at_once
from tests.faults.proxy import GOOD, Cut, Fate, Proxy, Way
from tests.faults.settled import SUPERSEDED, settled
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

DEADLINE_S = 1800.0
"""For the long form: 15 ms a cut, and seconds where it comes after an acknowledgement."""


class Reach(NamedTuple):
    """How many bytes a session has, with the first reports and acknowledgements, each way."""

    up: int
    down: int


PLAIN = Reach(up=2_500, down=420)
TLS = Reach(up=4_500, down=1_500)


class Rig(NamedTuple):
    scene: Scene
    proxy: Proxy


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that the client of this test trusts, too."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    return authority


@contextmanager
def rig(
    folder: Path, library: Path, fates: Sequence[Fate] = (), authority: Authority | None = None, *, hasty: bool = True
) -> Iterator[Rig]:
    """A collector, and an agent whose first connections have these fates. hasty: it dials again at once."""
    listens: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    if authority is not None:
        of_collector, of_node = authority.sign("collector"), authority.sign("n0")
        listens = (f'tls = {{cert = "{of_collector.cert}", key = "{of_collector.key}", client_ca = "{authority.ca}"}}',)
        asks = (f'tls = {{ca = "{authority.ca}", cert = "{of_node.cert}", key = "{of_node.key}"}}',)
    with Proxy(lambda number: fates[number] if number < len(fates) else GOOD) as proxy:
        scene = Scene(folder, library, *listens, pace=(*QUICK, *asks), address=proxy.address)
        proxy.lead_to(scene.collector.grpc)
        if authority is not None:
            scene.collector.url = scene.collector.url.replace("http:", "https:")
        if hasty:
            dialling_at_once(scene)
        with scene:
            yield Rig(scene, proxy)


def swept(reach: Reach, stride: int) -> list[Fate]:
    """A cut after every so many bytes, each way; the kinds of cut take turns."""
    kinds = tuple(Cut)
    return [
        *(Fate(up=Way(cut_at=at, cut=kinds[at % 3])) for at in range(0, reach.up, stride)),
        *(Fate(down=Way(cut_at=at, cut=kinds[at % 3])) for at in range(0, reach.down, stride)),
    ]


def test_a_connection_cut_after_any_byte_loses_and_doubles_nothing(tmp_path: Path, nvml_library: Path) -> None:
    fates = swept(PLAIN, cycles(short=32, long=1))
    with rig(tmp_path, nvml_library, fates) as (scene, proxy):
        until(lambda: len(proxy.cuts) >= len(fates), "all connections are cut", DEADLINE_S)
        found = settled(scene)
    record(row_of("cut after n bytes", len(proxy.cuts), [found]))


def test_a_connection_with_tls_cut_after_any_byte_loses_and_doubles_nothing(
    tmp_path: Path, nvml_library: Path, authority: Authority
) -> None:
    fates = swept(TLS, cycles(short=64, long=1))
    with rig(tmp_path, nvml_library, fates, authority) as (scene, proxy):
        until(lambda: len(proxy.cuts) >= len(fates), "all connections are cut", DEADLINE_S)
        found = settled(scene)
    record(row_of("cut after n bytes, mTLS", len(proxy.cuts), [found]))


def test_a_byte_falsified_under_tls_ends_the_connection_and_nothing_false_is_stored(
    tmp_path: Path, nvml_library: Path, authority: Authority
) -> None:
    stride = cycles(short=700, long=11)
    fates = [
        *(Fate(up=Way(flip_at=at)) for at in range(0, TLS.up, stride)),
        *(Fate(down=Way(flip_at=at)) for at in range(0, TLS.down, stride)),
    ]
    with rig(tmp_path, nvml_library, fates, authority) as (scene, proxy):
        until(lambda: proxy.flips >= len(fates), "all connections have one byte falsified", DEADLINE_S)
        found = settled(scene)
    record(row_of("byte falsified, mTLS", proxy.flips, [found]))


def test_a_byte_falsified_without_tls_stops_neither_side(tmp_path: Path, nvml_library: Path) -> None:
    """What it says may be false then: nothing but TLS guards it."""
    stride = cycles(short=211, long=7)
    fates = [Fate(up=Way(flip_at=at, cut_at=at + 500)) for at in range(0, PLAIN.up, stride)]  # some go on, so are cut
    with rig(tmp_path, nvml_library, fates) as (scene, proxy):
        until(lambda: proxy.flips >= len(fates), "all connections have one byte falsified", DEADLINE_S)
        began = len(scene.node.made())
        until(lambda: set(scene.node.made()[began:]) & scene.shown(scene.node), "what is read now is stored")
        assert scene.node.agent.is_running
        assert scene.collector.is_running
        scene.settle()
        [found] = scene.verdicts()
    assert not found.doubled
    record(row_of("byte falsified, plain", proxy.flips, [found])._replace(lost=None))


def test_a_slow_and_unsteady_wire_in_small_pieces_delays_everything_and_loses_nothing(
    tmp_path: Path, nvml_library: Path
) -> None:
    poor = Way(latency_s=0.3, jitter_s=0.5, bytes_per_s=16_000.0, chunk=500)
    with rig(tmp_path, nvml_library, hasty=False) as (scene, proxy):
        proxy.become(Fate(poor, poor))
        scene.node.wait_for_readings(40)
        first = set(scene.node.made()[:40])
        until(lambda: len(first - scene.shown(scene.node)) <= SUPERSEDED * len(first), "what was read first is stored")
        found = settled(scene)
    record(row_of("latency, jitter, 16 kB/s", 1, [found]))


def test_a_slow_link_brings_what_waited_while_the_collector_was_away(tmp_path: Path, nvml_library: Path) -> None:
    """At 100 kbit/s what is under way takes longer than a ping may: who pings then cuts a good connection for ever."""
    with rig(tmp_path, nvml_library, hasty=False) as (scene, proxy):
        until(lambda: scene.node.board in scene.collector.devices(), "the device is known")
        scene.collector.kill()
        scene.node.wait_for_readings(120)
        proxy.become(Fate(up=Way(bytes_per_s=12_000.0, chunk=512)))
        made, dialled = set(scene.node.made()), proxy.connections
        scene.collector.start()
        until(lambda: scene.node.board in scene.collector.devices(), "the device is known again")
        until(lambda: len(made - scene.shown(scene.node)) <= SUPERSEDED * len(made), "what waited is stored")
        assert proxy.connections - dialled <= 2
        proxy.become(GOOD)
        found = settled(scene)
    record(row_of("slow link with a backlog", 1, [found]))
