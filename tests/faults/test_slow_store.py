"""A store that refuses, stalls and talks nonsense: agents keep what it does not have, and in the end it has all."""

import re
import time
from pathlib import Path
from random import Random
from threading import Lock

import pytest

from tests.collector.stores.influx.fake import (
    INFLUXDB,
    Behaviour,
    Endless,
    FakeInflux,
    Garbage,
    Reply,
    Taken,
    serving,
)
from tests.e2e.programs import until
from tests.faults.audit import Verdict, audit
from tests.faults.programs import Scene
from tests.faults.table import LONG, cycles, record, row_of

pytestmark = pytest.mark.server("cc")

FIRST_TOKEN, TOKEN = "first-secret-of-the-store", "second-secret-of-the-store"
ENERGY = re.compile(rb"^device,.*\buuid=([^,]+),.*\benergy_joules_total=([0-9.e+]+)", re.MULTILINE)

BAD = re.compile(rb"energy_joules_total=[0-9]+\.[0-9]*9[, ]")
"""Lines that are never taken: about every tenth."""

REFUSALS: tuple[Behaviour, ...] = (
    Reply(401, '{"code":"unauthorized","message":"unauthorized access"}'),
    Reply(413, "too large"),
    Reply(429, headers={"Retry-After": "1"}),
    Reply(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
    Reply(503, headers={"Retry-After": "-5"}),
    Reply(500, "internal error"),
    Reply(307, headers={"Location": "http://127.0.0.1:1/api/v2/write"}),
    Reply(200, "<html>Welcome</html>"),
    Garbage(),
    Garbage(b""),
    Endless(503, bytes(2**16)),
)
SLOW: tuple[Behaviour, ...] = (Taken(), Endless(503, b".", pause_s=0.5))
"""Each takes as long as a write may: half a minute."""


class Play:
    """What the store answers: to every other body one of the refusals, to the others that it is stored."""

    def __init__(self, refusals: list[Behaviour]) -> None:
        self._left = refusals
        self._lock = Lock()
        self._refuse = False
        self.refused = 0

    def __call__(self, body: bytes) -> Behaviour:
        with self._lock:
            self._refuse = not self._refuse and bool(self._left)
            if not self._refuse:
                return Reply()
            self.refused += 1
            return self._left.pop()

    @property
    def is_over(self) -> bool:
        return not self._left


def stored(fake: FakeInflux, board: str) -> list[int]:
    """The readings of a board that the store has, in millijoules, as often as it has them."""
    return in_lines(b"\n".join(list(fake.stored)), board)


def partly(body: bytes) -> Behaviour:
    """A body with a bad line is refused as a whole, as VictoriaMetrics does."""
    return Reply(400, "unable to parse") if BAD.search(body) else Reply()


def in_lines(text: bytes, board: str) -> list[int]:
    return [round(float(joules) * 1000) for uuid, joules in ENERGY.findall(text) if uuid.decode() == board]


def is_idempotent(fake: FakeInflux) -> bool:
    """Whether a number that came again came as it was, so that a store has it once."""
    numbers = {
        (series, at, number)
        for series, fields, at in (re.split(rb"(?<!\\) ", line) for line in set(fake.stored))
        for number in fields.split(b",")
    }
    return len({(series, at, number.partition(b"=")[0]) for series, at, number in numbers}) == len(numbers)


def settled(scene: Scene, fake: FakeInflux) -> Verdict:
    """Once the store has all that it is owed, and the programs have ended."""
    node = scene.node
    node.stop()
    node.start()
    until(lambda: node.owed <= set(stored(fake, node.board)), "the store has all that was in the spool")
    node.agent.kill()
    assert scene.collector.stop() == 0, scene.collector.tail()
    return audit(node.made(), stored(fake, node.board), node.owed | scene.tap.acknowledged[node.name])


def influx(fake: FakeInflux, token_file: Path) -> tuple[str, ...]:
    token_file.write_text(FIRST_TOKEN)
    token_file.chmod(0o600)
    fake.ping = INFLUXDB
    return (
        'store.kind = "influx"', f'store.influx.url = "{fake.url}"', 'store.influx.bucket = "fallow"',
        f'store.influx.token_file = "{token_file}"',
    )


def test_a_store_that_refuses_gets_all_that_was_owed_in_the_end(tmp_path: Path, nvml_library: Path) -> None:
    rounds = cycles(short=1, long=20)
    refusals = [*REFUSALS, *(SLOW if LONG else ())] * rounds
    Random(31).shuffle(refusals)
    many = len(refusals)
    with serving() as fake, Scene(tmp_path, nvml_library, *influx(fake, tmp_path / "token")) as scene:
        play = Play(refusals)
        fake.on_write = play
        until(lambda: play.is_over, "the store has refused in all ways", deadline_s=60.0 * many)
        verdict = settled(scene, fake)
        logs = scene.collector.log.read_text() + scene.node.agent.log.read_text()
    record(row_of("store refuses, stalls, talks nonsense", play.refused, [verdict]))
    assert play.refused == many
    assert not verdict.lost
    assert is_idempotent(fake)
    assert not verdict.invented
    assert scene.tap.acknowledged[scene.node.name]
    assert FIRST_TOKEN not in logs
    assert fake.sent < many * 64 * 2**20


def test_a_store_with_a_new_token_is_spoken_to_with_it_and_gets_what_waited_in_the_spool(
    tmp_path: Path, nvml_library: Path
) -> None:
    with serving() as fake, Scene(tmp_path, nvml_library, *influx(fake, tmp_path / "token")) as scene:
        fake.on_write = lambda _: Reply(204 if fake.requests[-1][1] == f"Token {TOKEN}" else 401)
        scene.node.wait_for_readings(30)
        assert not scene.tap.acknowledged[scene.node.name]
        assert "token_file" in scene.collector.tail()
        (tmp_path / "token").write_text(TOKEN)
        began = time.monotonic()
        until(lambda: scene.tap.acknowledged[scene.node.name], "the store takes rows")
        recovery_s = time.monotonic() - began
        verdict = settled(scene, fake)
        logs = scene.collector.log.read_text()
    record(row_of("token of the store replaced", 1, [verdict], recovery_s))
    assert not verdict.lost
    assert not verdict.invented
    assert len(scene.tap.acknowledged[scene.node.name]) > 20
    assert FIRST_TOKEN not in logs
    assert TOKEN not in logs


def test_rows_that_a_store_never_takes_are_set_aside_and_the_others_stored(tmp_path: Path, nvml_library: Path) -> None:
    with serving() as fake, Scene(tmp_path, nvml_library, *influx(fake, tmp_path / "token")) as scene:
        fake.on_write = partly
        until(lambda: (tmp_path / "collector" / "refused.lp").exists(), "a row is set aside")
        until(lambda: len(scene.tap.acknowledged[scene.node.name]) > 20, "acknowledgements")
        fake.on_write = lambda _: Reply()
        verdict = settled(scene, fake)
        aside = set(in_lines((tmp_path / "collector" / "refused.lp").read_bytes(), scene.node.board))
    record(row_of("store rejects some rows", len(aside), [verdict]))
    assert aside
    assert verdict.lost <= aside
    assert not verdict.invented
