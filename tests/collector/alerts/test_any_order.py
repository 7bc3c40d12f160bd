"""Whatever happens in whatever order, and wherever the collector is killed, receivers are told what they must be."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from fallow_collector.alerts.settings import AlertsSettings
from tests.collector.alerts.timeline import Killed, Timeline, receiver

WAIT_S, INTERVAL_S, REPEAT_S = 2, 5, 25
BUSY_S, ALL_S = 40, 60
ALERTS = tuple((rule, uuid) for rule in ("DeviceHot", "NodeLost") for uuid in ("g0", "g1", "g2"))

Group = str


class Spell(NamedTuple):
    """An alert fires from then to before then."""

    alert: tuple[str, str]
    start: int
    end: int


class Message(NamedTuple):
    at: float
    group: Group
    firing: frozenset[str]
    resolved: frozenset[str]


spells = st.lists(
    st.builds(
        lambda alert, start, length: Spell(alert, start, min(start + length, BUSY_S)), st.sampled_from(ALERTS),
        st.integers(0, BUSY_S - 1), st.integers(1, 20),
    ),
    max_size=10,
)
moments = st.sets(st.integers(0, ALL_S), max_size=5)


def firing_at(spells: Sequence[Spell], moment: int) -> dict[Group, frozenset[str]]:
    found = defaultdict(set)
    for spell in spells:
        if spell.start <= moment < spell.end:
            found[spell.alert[0]].add(" ".join(spell.alert))
    return {group: frozenset(names) for group, names in found.items()}


def wanted(spells: Sequence[Spell]) -> list[Message]:
    """What a receiver that takes everything at once is to be told."""
    messages = []
    for group in ("DeviceHot", "NodeLost"):
        known, last, began = frozenset[str](), None, None
        for now in range(ALL_S + 1):
            firing = firing_at(spells, now).get(group, frozenset())
            may = last is None or now >= last + INTERVAL_S
            if known:
                tell = may and (bool(firing - known) or bool(known - firing) or now >= (last or 0) + REPEAT_S)
            else:
                began = now if firing and began is None else began
                tell = bool(firing) and may and began is not None and now >= began + WAIT_S
                if not firing and began is not None and now >= began + WAIT_S + INTERVAL_S:
                    began = None
            if tell:
                messages.append(Message(now, group, firing, known - firing))
                known, last, began = firing, now, None
    return sorted(messages)


def told(line: Timeline) -> list[Message]:
    """Repeats of one id, which must be the same to the letter, once."""
    by_id = {}
    for each in line.told["ops"]:
        first = by_id.setdefault(each.notification.id, each)
        assert first.notification == each.notification
    return sorted(
        Message(each.at, each.notification.group_labels["alertname"], frozenset(each.firing), frozenset(each.resolved))
        for each in by_id.values()
    )


def timeline(directory: str, spells: Sequence[Spell]) -> Timeline:
    line = Timeline(Path(directory), settings=AlertsSettings(
        receivers=(receiver(),), group_wait_s=WAIT_S, group_interval_s=INTERVAL_S, repeat_interval_s=REPEAT_S,
    ))
    for now in range(BUSY_S + 1):
        after = {name for names in firing_at(spells, now).values() for name in names}
        before = {name for names in firing_at(spells, now - 1).values() for name in names}
        for name in after - before:
            line.at(now).fire(name.split()[0], uuid=name.split()[1])
        for name in before - after:
            line.at(now).resolve(name.split()[0], uuid=name.split()[1])
    return line


async def play(line: Timeline, before: set[int], after: set[int], unlogged: set[int]) -> None:
    """before, after: ticks whose transaction the collector does not live to write, or to go on from."""
    while line.now <= ALL_S:
        now = int(line.now)
        for step in line._steps.pop(line.now, ()):
            done = step()
            if asyncio.iscoroutine(done):
                await done
        if now in before | after:
            line.file.killed = "after" if now in after else "before"
            try:
                await line.tick()
            except Killed:
                line.now = now if now in after else now - 1  # so that no tick of the clock is lost
                line.kill()
                line.now = now
        if now in unlogged:
            line.unlogged.add("ops")
        await line.tick()
        await line.deliver()
        line.unlogged.clear()
        line.now += 1
    await line.alerting.close(line.now)


@settings(max_examples=30, deadline=None)
@given(spells=spells, before=moments, after=moments, unlogged=moments)
def test_what_is_told_is_what_is_wanted_wherever_the_collector_is_killed(
    spells: list[Spell], before: set[int], after: set[int], unlogged: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        line = timeline(directory, spells)
        asyncio.run(play(line, before, after, unlogged))
        assert told(line) == wanted(spells)


@settings(max_examples=30, deadline=None)
@given(spells=spells, down=st.sets(st.integers(0, BUSY_S), max_size=25), kills=moments, send_resolved=st.booleans())
def test_a_receiver_that_is_down_at_times_is_told_of_everything_that_lasted(
    spells: list[Spell], down: set[int], kills: set[int], send_resolved: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        line = timeline(directory, spells)
        for now in range(BUSY_S + 2):
            line.at(now).down() if now in down else line.at(now).up()
        for now in kills:
            line.at(now).kill()
        asyncio.run(play(line, set(), set(), set()))
        view: set[str] = set()
        heard: set[str] = set()
        for message in told(line):
            assert message.firing | message.resolved
            view = (view | message.firing) - message.resolved
            heard |= message.firing | message.resolved
        assert not view
        lasted = {spell.alert for spell in spells if spell.end - spell.start > WAIT_S + INTERVAL_S + 1}
        assert {" ".join(alert) for alert in lasted} <= heard
        last = defaultdict(lambda: -INTERVAL_S)
        for each in line.told["ops"]:
            made = each.notification.made_at
            assert made >= last[each.notification.group_key] + INTERVAL_S
            last[each.notification.group_key] = made


@settings(max_examples=20, deadline=None)
@given(
    spells=spells, silences=st.lists(st.tuples(st.integers(0, BUSY_S), st.integers(1, 15)), max_size=3),
    down=st.sets(st.integers(0, BUSY_S), max_size=20), kills=moments,
)
def test_nothing_is_told_of_what_is_silenced_and_nothing_is_lost_by_a_silence(
    spells: list[Spell], silences: list[tuple[int, int]], down: set[int], kills: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        line = timeline(directory, spells)
        for start, length in silences:
            line.at(start).silence("uuid=g0", for_s=float(length))
        for now in range(BUSY_S + 2):
            line.at(now).down() if now in down else line.at(now).up()
        for now in kills:
            line.at(now).kill()
        asyncio.run(play(line, set(), set(), set()))
        view: set[str] = set()
        for message in told(line):
            silenced = any(start <= message.at < start + length for start, length in silences)
            assert not silenced or not any(name.endswith("g0") for name in message.firing | message.resolved)
            view = (view | message.firing) - message.resolved
        assert not view
