"""Alerts from one evaluation to the next, and the outbox that delivery empties.

Nothing is told that is not on disk first; one tick's changes are one transaction, and what the disk does not take is
kept and tried again with the next one. So a full disk holds notifications back; the receiver that waits for the alert
which always fires misses it then.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import msgspec

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.audience import Audience, Groups
from fallow_collector.alerts.changes import Changes, DeadLetter, DeadMark, Table
from fallow_collector.alerts.evaluation import Evaluation
from fallow_collector.alerts.file import AlertFile, Kept
from fallow_collector.alerts.knowledge import Knowledge
from fallow_collector.alerts.outbox import Waiting
from fallow_collector.alerts.plan import Pace
from fallow_collector.alerts.rule import Inhibition, Rule
from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.alerts.silences import MOST, Silence, SilenceError, Silences, silence_of
from fallow_collector.alerts.step import RESOLVED_KEPT_S, step
from fallow_collector.state.file import StateError
from fallow_proto.alerts import SilenceWanted

DEAD_KEPT_S = 7 * 86400.0
"""A week, so that whoever comes back to a broken receiver sees what it missed."""

DEAD_COUNTED_S = 86400.0

log = logging.getLogger(__name__)


def _new_id() -> str:
    return uuid4().hex


class Alerting:
    """All on the event loop's thread; only the file is written in another. now: seconds of the monotonic clock; wall:
    unix seconds. Inside, `now_s` is the clock of the alerts, which goes on where it stood when the collector ended.

    rules: by name. evaluation: the newest; None: there was none yet. problem: why the file did not take the newest
    changes; empty: it did. delivered_count, failed_count, dead_count: notifications since the start, by receiver.
    """

    def __init__(
        self, rules: Collection[Rule], inhibitions: Collection[Inhibition], settings: AlertsSettings, file: AlertFile,
        now: float, new_id: Callable[[], str] = _new_id,
    ) -> None:
        """Raises StateError of a file that cannot be read, MatcherError of a bad matcher."""
        self.rules = {rule.name: rule for rule in rules}
        self.evaluation: Evaluation | None = None
        self.problem = ""
        self.delivered_count, self.failed_count, self.dead_count = Counter[str](), Counter[str](), Counter[str]()
        self._file = file
        self._new_id = new_id
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="alerts")
        self._writing = asyncio.Lock()
        self._changes, self._leaving = Changes(), Changes()
        self._told_receivers = [each for each in settings.receivers if each.type != "alertmanager"]
        kept = self._without_strangers(file.load())
        self._origin = now - kept.clock_s
        self._newest_s = kept.clock_s
        self._wall_ahead_s: float | None = None
        self._alerts = kept.alerts
        self._audience = Audience(settings.receivers, inhibitions, settings.group_by)
        self._silences = Silences(list(kept.silences.values()))
        self._inhibited: dict[str, list[str]] = {}
        self._withheld: set[str] = set()
        self._presents: dict[str, Groups] = {}  # by receiver, for as long as nothing changes
        self._dead = kept.dead
        self._knowledge = Knowledge(
            list(kept.told.values()), kept.outbox, kept.attempts,
            Pace(settings.group_wait_s, settings.group_interval_s, settings.repeat_interval_s), new_id, self._note,
        )
        self._owed = self._knowledge.owed()
        self._regroup()

    @property
    def alerts(self) -> Collection[Alert]:
        return self._alerts.values()

    async def tick(self, evaluation: Evaluation, now: float, wall: float) -> None:
        now_s = self._at(now)
        self.evaluation = evaluation
        self._wall_ahead_s = wall - now_s
        stepped = step(self._alerts, evaluation, self.rules, self._owed, now_s, wall)
        self._alerts = stepped.alerts
        for fingerprint, alert in stepped.changed.items():
            self._note(Table.ALERTS, fingerprint, alert)
        if stepped.changed:
            self._regroup()
        withheld = self._inhibited.keys() | self._silences.silenced_by(wall).keys()
        if stepped.changed or withheld != self._withheld:
            self._presents.clear()
        self._withheld = withheld
        for receiver in self._told_receivers:
            groups = self._presents.get(receiver.name)
            if groups is None:
                groups = self._audience.presents(receiver.name, self._alerts, withheld)
                self._presents[receiver.name] = groups
            self._knowledge.plan(receiver.name, receiver.send_resolved, groups, self._alerts, now_s, wall)
        self._owed = self._knowledge.owed(withheld)
        self._forget(now_s, wall)
        await self._keep(clock=True)

    async def close(self, now: float) -> None:
        """Everything is on disk, if the disk takes it; the file is closed."""
        self._at(now)
        await self._keep(clock=True)
        self._thread.shutdown()
        self._file.close()

    def waiting(self, receiver: str, now_s: float) -> Waiting | None:
        """See Outbox; now_s: as `now` everywhere here."""
        shown = self._at(now_s)
        sending = self._knowledge.sendings.take(receiver, shown, self._not_on_disk(Table.OUTBOX))
        if sending is None:
            return None
        attempts = self._knowledge.sendings.attempts(sending)
        return Waiting(sending.notification, attempts.count if attempts else 0, shown - sending.since_s)

    async def delivered(self, notification_id: str) -> None:
        sending = self._knowledge.sendings.find(notification_id)
        if sending is not None:
            self._knowledge.delivered(sending)
            self.delivered_count[sending.notification.receiver] += 1
            await self._keep()

    async def failed(self, notification_id: str, retry_at_s: float, problem: str) -> None:
        sending = self._knowledge.sendings.find(notification_id)
        if sending is not None:
            self._knowledge.failed(sending, retry_at_s - self._origin, problem)
            self.failed_count[sending.notification.receiver] += 1
            await self._keep()

    async def dead(self, notification_id: str, problem: str) -> None:
        sending = self._knowledge.sendings.find(notification_id)
        if sending is None:
            return
        notification = sending.notification
        self._knowledge.delivered(sending)
        mark = DeadMark(
            receiver=notification.receiver, at_s=self._newest_s, at=self._wall(notification.made_at), problem=problem
        )
        self._dead[notification_id] = mark
        self._note(
            Table.DEAD, notification_id, DeadLetter(**msgspec.structs.asdict(mark), notification=notification)
        )
        self.dead_count[notification.receiver] += 1
        await self._keep()

    def standing(self, receiver: str) -> Sequence[Alert]:
        """See Standing. Silenced and inhibited ones too: an Alertmanager would resolve what it is no longer told."""
        unkept = self._not_on_disk(Table.ALERTS)
        return [
            alert for alert in (self._alerts[each] for each in self._audience.of(receiver))
            if alert.fingerprint not in unkept and (
                alert.state is State.FIRING
                or (alert.state is State.RESOLVED and self._newest_s - alert.since_s < RESOLVED_KEPT_S)
            )
        ]

    async def silence(self, wanted: SilenceWanted, wall: float) -> Silence:
        """On disk when it returns. Raises SilenceError, MatcherError, StateError; there is then none."""
        if self._silences.unexpired(wall) >= MOST:
            raise SilenceError(f"there are {MOST} silences that have not ended, which is the most; end some first")
        silence = silence_of(wanted, self._new_id(), wall)
        await self._put_silence(silence, None)
        return silence

    async def end_silence(self, silence_id: str, wall: float, sites: Collection[str] = ()) -> Silence | None:
        """As it is now; None: there is none of that id which is confined to these sites (empty: to whichever). Raises
        StateError; it then goes on."""
        before = self._silences.find(silence_id)
        if before is None or not before.keeps_to(sites):
            return None
        ended = before.ended(wall)
        await self._put_silence(ended, before)
        return ended

    def silences(self) -> list[Silence]:
        return self._silences.all

    def silenced_by(self, wall: float) -> dict[str, list[str]]:
        """Ids of silences, by fingerprint of alert."""
        return self._silences.silenced_by(wall)

    def inhibited_by(self) -> dict[str, list[str]]:
        """Fingerprints of alerts, by fingerprint of what they inhibit."""
        return self._inhibited

    def waiting_count(self, receiver: str) -> int:
        return self._knowledge.sendings.count(receiver)

    def problem_of(self, receiver: str) -> str:
        """Why what waits for it was not delivered so far; empty: no attempt at it failed."""
        return self._knowledge.sendings.problem(receiver)

    def dead_letters(self, receiver: str) -> int:
        """Given up in the last day."""
        return sum(
            mark.receiver == receiver and self._newest_s - mark.at_s < DEAD_COUNTED_S for mark in self._dead.values()
        )

    async def _put_silence(self, silence: Silence, before: Silence | None) -> None:
        self._silences.put(silence, self._audience.labels)
        self._note(Table.SILENCES, silence.id, silence)
        problem = await self._keep()
        if problem is None:
            return
        if before is None:
            self._silences.remove(silence.id)
        else:
            self._silences.put(before, self._audience.labels)
        self._note(Table.SILENCES, silence.id, before)
        raise problem

    def _regroup(self) -> None:
        came, gone = self._audience.update(self._alerts)
        self._silences.update(came, gone)
        self._inhibited = self._audience.inhibited_by(self._alerts)

    def _forget(self, now_s: float, wall: float) -> None:
        for silence_id in self._silences.outdated(wall):
            self._silences.remove(silence_id)
            self._note(Table.SILENCES, silence_id, None)
        for letter, mark in list(self._dead.items()):
            if now_s - mark.at_s >= DEAD_KEPT_S:
                del self._dead[letter]
                self._note(Table.DEAD, letter, None)

    def _without_strangers(self, kept: Kept) -> Kept:
        """A receiver that was removed from the configuration is told nothing more."""
        known = {each.name for each in self._told_receivers}
        told = {key: each for key, each in kept.told.items() if each.receiver in known}
        outbox = {key: each for key, each in kept.outbox.items() if each.notification.receiver in known}
        for key in kept.told.keys() - told.keys():
            self._note(Table.TOLD, key, None)
        dropped = sorted(kept.outbox.keys() - outbox.keys())
        for key in dropped:
            log.warning(
                "notification dropped id=%s receiver=%r: no receiver of that name is configured any more", key,
                kept.outbox[key].notification.receiver,
            )
            self._note(Table.OUTBOX, key, None)
            self._note(Table.ATTEMPTS, key, None)
        return kept._replace(told=told, outbox=outbox)

    def _at(self, now: float) -> float:
        """What the alerts' clock shows."""
        self._newest_s = max(self._newest_s, now - self._origin)
        return now - self._origin

    def _wall(self, otherwise: float) -> float:
        return otherwise if self._wall_ahead_s is None else self._newest_s + self._wall_ahead_s

    def _note(self, table: Table, key: str, row: msgspec.Struct | None) -> None:
        self._changes.put(table, key, row)

    def _not_on_disk(self, table: Table) -> set[str]:
        return {*self._changes.rows[table], *self._leaving.rows[table]}

    async def _keep(self, clock: bool = False) -> StateError | None:
        """Write what has changed by now. Returns why it could not be. clock: write what it shows even if nothing else
        has changed, since a kill sets it back to what was written last."""
        async with self._writing:
            if not self._changes and not clock:
                return None
            self._leaving, self._changes = self._changes, Changes()
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._thread, self._file.write, self._leaving, self._newest_s)
            except BaseException as error:  # cancelled: it may be on disk, and writing it again does no harm
                self._changes = self._leaving.followed_by(self._changes)
                if not isinstance(error, StateError):
                    raise
                self._say(str(error))
                return error
            finally:
                self._leaving = Changes()
            self._say("")
            return None

    def _say(self, problem: str) -> None:
        if problem and not self.problem:
            log.error("alerts cannot be kept problem=%r: nothing new is told until they can", problem)
        elif self.problem and not problem:
            log.info("alerts can be kept again")
        self.problem = problem
