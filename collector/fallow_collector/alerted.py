"""Alerts in the running collector: every few seconds facts are taken on the event loop, rules evaluated in a thread,
what follows is kept on disk, and the workers of the receivers are woken."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from random import random
from typing import NamedTuple

from fallow_collector.alerts.alerting import Alerting
from fallow_collector.alerts.deliver import Delivery
from fallow_collector.alerts.evaluate import Evaluator
from fallow_collector.alerts.facts import Tables
from fallow_collector.alerts.file import AlertFile
from fallow_collector.alerts.matchers import MatcherError
from fallow_collector.alerts.measures import measures
from fallow_collector.alerts.rulefile import RuleSet
from fallow_collector.alerts.wanted import columns_of
from fallow_collector.config import Settings
from fallow_collector.facts.collector import Itself
from fallow_collector.facts.node import Beside
from fallow_collector.facts.tables import Sources, Taker
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.health.board import Board
from fallow_collector.idle.engine import Engine
from fallow_collector.journal import Journal
from fallow_collector.ledgers.imports import Imports
from fallow_collector.own import Measure, Own
from fallow_collector.pipeline import Pipeline
from fallow_collector.stores.embedded.forecast import Forecast
from fallow_collector.stores.store import Store
from fallow_collector.view import View
from fallow_collector.writer import Writer
from fallow_proto.settings import SettingsError

FORECAST_S = 60.0
STOP_S = 5.0
"""What a look at the rules that is under way gets to end; it takes a fifth of a second."""

LOGGED = 10  # failures; the others are counted

log = logging.getLogger(__name__)


class Watched(NamedTuple):
    """The parts of the collector that rules look at."""

    fleet: Fleet
    engine: Engine
    view: View
    health: Board
    imports: Imports
    pipeline: Pipeline
    writer: Writer
    store: Store
    journal: Journal
    own: Own


class Alerted:
    """alerting, delivery: there once it is opened."""

    alerting: Alerting
    delivery: Delivery

    def __init__(self, settings: Settings, version: str, rules: RuleSet, watched: Watched) -> None:
        self.failures = 0  # looks at the rules that failed as a whole
        self.took_s = 0.0  # the longest that taking facts last kept the event loop busy at a time
        self._settings = settings
        self._version = version
        self._rules = rules
        self._watched = watched
        self._wanted = columns_of(rules.rules)
        self._evaluator = Evaluator(rules.rules)
        self._began = time.monotonic()
        self._forecast = Forecast(settings.store.embedded)
        self._forecast_at = self._began
        self._failing = False
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._taker = Taker(Sources(
            watched.fleet, watched.engine, watched.view, watched.health, watched.imports,
            beside=self._beside, itself=self._itself, site=settings.site,
        ))

    async def start(self) -> None:
        """Raises StateError, SettingsError."""
        settings = self._settings.alerts
        file = await asyncio.to_thread(AlertFile, Path(self._settings.state.dir))
        if file.damaged:
            log.error("file of alerts was damaged moved_to=%s: what fires is told anew", file.damaged)
        try:
            self.alerting = Alerting(self._rules.rules, self._rules.inhibitions, settings, file, time.monotonic())
        except MatcherError as error:
            file.close()
            raise SettingsError(f"[alerts] {error}") from error
        self.delivery = Delivery(
            settings.receivers, self.alerting, self.alerting, external_url=settings.external_url,
            version=self._version, now=time.monotonic, wall=time.time, random=random,
        )
        self.delivery.start()
        self._task = asyncio.create_task(self._run(), name="alerts")

    async def stop(self) -> None:
        """What the last look found is on disk; an attempt that is under way has some seconds to end."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.delivery.stop()
        await self.alerting.close(time.monotonic())

    def measures(self) -> Iterator[Measure]:
        yield Measure(
            "fallow_alerts_failures_total", "counter", "Looks at the rules of alerts that failed as a whole.", {},
            self.failures,
        )
        yield Measure(
            "fallow_alerts_taking_seconds", "gauge",
            "The longest that taking the facts for rules last kept the event loop busy at a time.", {}, self.took_s,
        )
        yield from measures(self.alerting, self._settings.alerts)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._tick()
                self._failing = False
            except Exception:  # whatever it is, the rest of the collector goes on, and so does the next look
                self._failing = True
                self.failures += 1
                if self.failures <= LOGGED:
                    log.exception("BUG: a look at the rules of alerts failed failures=%d", self.failures)
            try:
                async with asyncio.timeout(self._settings.alerts.interval_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _tick(self) -> None:
        await self._look_ahead()
        evaluation = await asyncio.to_thread(self._evaluator.run, await self._taken())
        await self.alerting.tick(evaluation, time.monotonic(), time.time())
        self.delivery.wake()

    async def _taken(self) -> Tables:
        """Table by table, so that reports need not wait for all of them."""
        tables, longest_s, began = {}, 0.0, time.perf_counter()
        for table, facts in self._taker.each(self._wanted):
            tables[table] = facts
            longest_s = max(longest_s, time.perf_counter() - began)
            await asyncio.sleep(0)
            began = time.perf_counter()
        self.took_s = longest_s
        return tables

    async def _look_ahead(self) -> None:
        """How full the store is, from time to time."""
        now = time.monotonic()
        if self._settings.store.kind != "embedded" or not self._watched.writer.opened or now < self._forecast_at:
            return
        self._forecast_at = now + FORECAST_S
        self._forecast.look(await asyncio.to_thread(self._watched.store.facts), now, time.time())

    def _beside(self, now: float) -> Beside:
        pipeline = self._watched.pipeline
        return Beside(pipeline.unacknowledged(now), pipeline.streams.certificates, self._version)

    def _itself(self, complete: bool, unacknowledged_s: float) -> Itself:
        watched, valid, wall = self._watched, self._watched.own.certificate, time.time()
        evaluation = self.alerting.evaluation
        return Itself(
            site=self._settings.site, version=self._version, up_s=time.monotonic() - self._began, complete=complete,
            store_commits=not watched.writer.trouble(time.monotonic()), state_commits=not watched.own.state_problem,
            unacknowledged_s=unacknowledged_s, store_full_in_s=self._forecast.full_in_s,
            events_dropped=watched.journal.dropped,
            certificate_remaining_ratio=None if valid is None else valid.remaining_ratio(wall),
            certificate_expires_in_s=None if valid is None else valid.remaining_s(wall),
            receivers_failing=sum(bool(one.problem) for one in self.delivery.attempted.values()),
            rules_failing=len(self._rules.rules) if self._failing else len(evaluation.problems) if evaluation else 0,
            dead_letters=sum(self.alerting.dead_letters(one.name) for one in self._settings.alerts.receivers),
        )
