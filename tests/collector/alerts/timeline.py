"""Timelines of alerts as scripts: what happens when, and what a receiver is to be told between when and when.

    line.at(10).fire("DeviceHot", uuid="g0")
    line.want_between(20, 21, firing=["DeviceHot g0"])
    line.run(60)

A second is a tick. The file is a real one; a kill is an end without a last word, and a start from what the file holds.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from fallow_collector.alerts.alert import fingerprint
from fallow_collector.alerts.alerting import Alerting
from fallow_collector.alerts.changes import Changes
from fallow_collector.alerts.evaluation import Evaluation, Held, Outcome
from fallow_collector.alerts.file import AlertFile
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.rule import Inhibition, Rule, Severity
from fallow_collector.alerts.settings import AlertsSettings, ReceiverSettings
from fallow_proto.alerts import SilenceWanted

WALL = 1.7e9
RETRY_S = 10.0


def rule(name: str, for_s: float = 0.0, keep_s: float = 0.0) -> Rule:
    return Rule(
        name=name, over="device", expr="true", for_s=for_s, keep_s=keep_s, severity=Severity.WARNING, labels={},
        annotations={}, where="rules.toml:1",
    )


def receiver(name: str = "ops", matchers: tuple[str, ...] = (), send_resolved: bool = True) -> ReceiverSettings:
    return ReceiverSettings(
        name=name, type="webhook", url="http://127.0.0.1:9/", matchers=matchers, send_resolved=send_resolved
    )


def held(name: str, **labels: str) -> Held:
    complete = {"alertname": name, "severity": "warning", "site": "a", **labels}
    return Held(fingerprint(complete), complete, {})


def called(labels: dict[str, str]) -> str:
    """DeviceHot g0: the rule, and what tells its alerts apart."""
    return " ".join([labels["alertname"], *(labels[name] for name in ("node", "uuid") if name in labels)])


class Killed(BaseException):
    pass


class KillableFile(AlertFile):
    """killed: "before" or "after" the next transaction, the program ends."""

    killed = ""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._connection.execute("PRAGMA synchronous = OFF")  # no power fails here, and ticks are many

    def write(self, changes: Changes, clock_s: float) -> None:
        if self.killed == "before":
            raise Killed
        super().write(changes, clock_s)
        if self.killed == "after":
            raise Killed


@dataclass(frozen=True)
class Told:
    at: float
    notification: Notification

    @property
    def firing(self) -> list[str]:
        return sorted(called(alert.labels) for alert in self.notification.alerts if alert.state == "firing")

    @property
    def resolved(self) -> list[str]:
        return sorted(called(alert.labels) for alert in self.notification.alerts if alert.state == "resolved")


@dataclass(frozen=True)
class Want:
    start: float
    end: float
    receiver: str
    firing: list[str]
    resolved: list[str]
    reason: str | None


@dataclass
class Timeline:
    """down: receivers that take nothing. unlogged: receivers that take what is sent, and the collector is killed before
    it notes that."""

    directory: Path
    rules: Collection[Rule] = (rule("DeviceHot"), rule("NodeLost"))
    inhibitions: Collection[Inhibition] = ()
    settings: AlertsSettings = field(default_factory=lambda: AlertsSettings(receivers=(receiver(),)))
    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    ids: Callable[[], str] = field(default_factory=lambda: map(str, count(1)).__next__)
    down: set[str] = field(default_factory=set)
    unlogged: set[str] = field(default_factory=set)
    wall_step: float = 0.0
    now: float = 0.0
    _steps: dict[float, list[Callable[[], object]]] = field(default_factory=lambda: defaultdict(list))
    _wants: list[Want] = field(default_factory=list)
    _held: dict[str, Held] = field(default_factory=dict)
    _unknown: set[str] = field(default_factory=set)
    _skipped: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.start()

    def at(self, moment: float) -> "Moment":
        return Moment(self, moment)

    def want_between(
        self, start: float, end: float, receiver: str = "ops", *, firing: Collection[str] = (),
        resolved: Collection[str] = (), reason: str | None = None,
    ) -> None:
        self._wants.append(Want(start, end, receiver, sorted(firing), sorted(resolved), reason))

    def run(self, until: float, every: float = 1.0) -> None:
        """Raises AssertionError when anything that is wanted is not told, or anything else is."""
        asyncio.run(self.play(until, every))
        asyncio.run(self.alerting.close(self.now))
        self.check()

    async def play(self, until: float, every: float = 1.0) -> None:
        while self.now <= until:
            for step in self._steps.pop(self.now, ()):
                done = step()
                if asyncio.iscoroutine(done):
                    await done
            await self.tick()
            await self.deliver()
            self.now += every

    def check(self) -> None:
        left = {name: list(told) for name, told in self.told.items()}
        for want in self._wants:
            found = [
                each for each in left.get(want.receiver, ())
                if want.start <= each.at <= want.end and (each.firing, each.resolved) == (want.firing, want.resolved)
                and want.reason in (None, each.notification.reason)
            ]
            assert found, f"wanted {want}, told was {self.story()}"
            left[want.receiver].remove(found[0])
        assert not any(left.values()), f"not wanted: {left}"

    def story(self) -> list[tuple[float, str, list[str], list[str], str]]:
        return [
            (each.at, name, each.firing, each.resolved, each.notification.reason)
            for name, told in self.told.items() for each in told
        ]

    def start(self) -> None:
        self.file = KillableFile(self.directory)
        self.alerting = Alerting(self.rules, self.inhibitions, self.settings, self.file, self.now, self.ids)

    def kill(self) -> None:
        self.file.close()
        self.start()

    @property
    def wall(self) -> float:
        return WALL + self.now + self.wall_step

    def evaluation(self) -> Evaluation:
        outcomes = {
            each.name: Outcome(
                [row for row in self._held.values() if row.labels["alertname"] == each.name],
                frozenset(self._unknown),
            )
            for each in self.rules if each.name not in self._skipped
        }
        return Evaluation(outcomes, {}, 0.0)

    async def tick(self) -> None:
        await self.alerting.tick(self.evaluation(), self.now, self.wall)

    async def deliver(self) -> None:
        for each in self.settings.receivers:
            while waiting := self.alerting.waiting(each.name, self.now):
                sent = waiting.notification
                if each.name in self.down:
                    await self.alerting.failed(sent.id, self.now + RETRY_S, "connection refused")
                    continue
                self.told[each.name].append(Told(self.now, sent))
                if each.name in self.unlogged:
                    self.unlogged.discard(each.name)
                    self.kill()
                    continue
                await self.alerting.delivered(sent.id)


@dataclass(frozen=True)
class Moment:
    line: Timeline
    at: float

    def do(self, step: Callable[[], object]) -> None:
        self.line._steps[self.at].append(step)

    def fire(self, name: str, **labels: str) -> None:
        row = held(name, **labels)
        self.do(lambda: (self.line._held.update({row.fingerprint: row}), self.line._unknown.discard(row.fingerprint)))

    def resolve(self, name: str, **labels: str) -> None:
        key = held(name, **labels).fingerprint
        self.do(lambda: (self.line._held.pop(key, None), self.line._unknown.discard(key)))

    def unknown(self, name: str, **labels: str) -> None:
        key = held(name, **labels).fingerprint
        self.do(lambda: (self.line._held.pop(key, None), self.line._unknown.add(key)))

    def skip(self, name: str) -> None:
        """From now on, the rule is not evaluated."""
        self.do(lambda: self.line._skipped.add(name))

    def kill(self) -> None:
        self.do(lambda: self.line.kill())

    def down(self, name: str = "ops") -> None:
        self.do(lambda: self.line.down.add(name))

    def up(self, name: str = "ops") -> None:
        self.do(lambda: self.line.down.discard(name))

    def step_the_wall_clock(self, seconds: float) -> None:
        self.do(lambda: setattr(self.line, "wall_step", self.line.wall_step + seconds))

    def silence(self, *matchers: str, for_s: float) -> None:
        wanted = SilenceWanted(matchers=list(matchers), comment="maintenance", for_s=for_s)
        self.do(lambda: self.line.alerting.silence(wanted, self.line.wall))
