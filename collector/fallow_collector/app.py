"""The collector as a whole: started step by step, stopped the other way round, each step named and bounded."""

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from fallow_collector import minded
from fallow_collector.accepting import Accepting
from fallow_collector.alerted import Alerted, Watched
from fallow_collector.answers.alerts import Alerts
from fallow_collector.answers.cordons import Cordons
from fallow_collector.answers.fit import Fitter
from fallow_collector.answers.kubernetes import Extender
from fallow_collector.answers.ledgers import Ledgers
from fallow_collector.answers.live import Live
from fallow_collector.answers.quiesce import Quiescing
from fallow_collector.api.app import make_app
from fallow_collector.api.enroll import Office
from fallow_collector.api.server import HttpServer
from fallow_collector.api.tokens import Tokens
from fallow_collector.config import Settings, is_loopback
from fallow_collector.desk import Around, Desk
from fallow_collector.health.board import Board
from fallow_collector.identities import Identities
from fallow_collector.idle.state import WITNESSES
from fallow_collector.ingest.server import Server, credentials
from fallow_collector.inventory import load_inventory
from fallow_collector.journal import Journal
from fallow_collector.keep import Keeper
from fallow_collector.leases import LeaseFile
from fallow_collector.ledgers.imports import Imports
from fallow_collector.listeners import Listeners
from fallow_collector.made import alert_rules_of, make_store, rules_of, terms_of
from fallow_collector.own import Own
from fallow_collector.phases import PhaseLog
from fallow_collector.pipeline import FLUSH_S, Pipeline
from fallow_collector.processes.board import Processes
from fallow_collector.replay.recorder import Recorder
from fallow_collector.replay.recordings import Recordings
from fallow_collector.replay.taped import TapedEngine, TapedFleet
from fallow_collector.saving import Saving
from fallow_collector.state import State
from fallow_collector.view import View
from fallow_collector.watch.feed import Feed
from fallow_collector.watch.watchers import Watchers
from fallow_collector.writer import Progress, Writer
from fallow_proto.systemd import Watchdog, notify, notify_status, watchdog_interval_s

OPEN_S = 60.0
"""How long agents are kept waiting for the store to open: without it, they would be asked for all that it has."""

DRAIN_S = 10.0
STEP_S = 15.0  # most that one step of stopping may take
ACKS_S = 2.0
CHORES_S = 1.0
IDENTITIES_S = 1.0

log = logging.getLogger(__name__)


class Collector:
    """grpc_port, http: where it listens, once started."""

    def __init__(self, settings: Settings, version: str) -> None:
        self.grpc_port = 0
        self.http = ""
        self._settings = settings
        self._version = version
        self._stops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._engine = TapedEngine(settings.idle)
        self._fleet = TapedFleet(self._engine, WITNESSES)
        self._store = make_store(settings)
        self._writer = Writer(self._store, self._fleet.series)
        self._pipeline = Pipeline(self._fleet, self._writer, terms_of(settings, version))
        self._imports = Imports(self._fleet, settings.idle.ledger_stale_s, self._engine.restart)
        self._prepare = [self._imports.bring_up_to_date]
        self._view = View(self._fleet, self._engine, time.monotonic, time.time, self._prepare)
        self._phases = PhaseLog(time.time())
        self._view.follow(self._phases.follow)
        self._journal = Journal(self._view.epoch, time.time)
        self._processes = Processes(
            self._fleet, self._imports, lambda row: self._engine.thresholds(row).unmanaged_s, self._journal.note
        )
        self._prepare.append(self._processes.bring_up_to_date)
        self._fitter = Fitter(self._fleet, self._view)
        self._own = Own(self._fleet, self._pipeline, self._writer, self._store, self._journal)
        self._recordings = Recordings(self._recorder)
        self._identities = Identities(settings, time.time)
        self._web: HttpServer | None = None
        self._server = Server(self._pipeline.streams)

    async def start(self) -> None:
        """Raises SettingsError, StateError or CannotListen; what was started by then is stopped."""
        try:
            for name, step in (
                ("state", self._start_state), ("identities", self._start_identities),
                ("pipeline", self._start_pipeline), ("writer", self._start_writer),
                ("grpc", self._start_grpc), ("alerts", self._start_alerts), ("http", self._start_http),
            ):
                log.debug("starting step=%s", name)
                await step()
        except BaseException:
            await self.stop()
            raise
        self._own.listener_problem = ""
        notify("READY=1")
        log.info(
            "collector started version=%s grpc=%s port=%d http=%s devices=%d",
            self._version, self._settings.grpc.listen, self.grpc_port, self.http, self._fleet.count,
        )

    async def stop(self) -> None:
        """Stop whatever was started; one step that fails or takes too long does not keep the others from stopping."""
        notify("STOPPING=1")
        while self._stops:
            name, stop = self._stops.pop()
            began = time.monotonic()
            try:
                async with asyncio.timeout(STEP_S):
                    await stop()
            except TimeoutError:
                log.error("stopping took too long step=%s limit_s=%.0f", name, STEP_S)
            except Exception:
                log.exception("stopping failed step=%s", name)
            log.debug("stopped step=%s took_s=%.2f", name, time.monotonic() - began)

    async def failed(self) -> str:
        """Wait until a part that should run for ever has ended; says which."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = done.pop()
        log.error("BUG: a part of the collector ended part=%s", task.get_name(), exc_info=task.exception())
        return task.get_name()

    # --- steps ---

    async def _start_state(self) -> None:
        rules, self._alert_rules = rules_of(self._settings), alert_rules_of(self._settings)
        self._state = await asyncio.to_thread(State, Path(self._settings.state.dir))
        self._stops.append(("state file", self._close_state))
        keeper = Keeper(self._state, self._fleet, self._engine)
        keeper.restore(time.monotonic())
        self._health = Board(rules, self._fleet, self._state, self._journal.note, round(time.time() * 1000))
        self._own.health = self._health
        self._cordons = Cordons(
            self._state, self._fleet, self._engine, self._journal, self._view.refresh, time.monotonic, time.time
        )
        self._prepare.append(self._cordons.bring_up_to_date)
        self._ledgers = Ledgers(self._imports, self._state, self._view.refresh)
        self._saving = Saving(
            self._state, keeper, self._pipeline, self._journal, self._ledgers, self._cordons, self._health, self._own
        )
        self._stops.append(("saving", self._saving.finish))
        self._pipeline.streams.learn(
            (source, [(number, number)]) for source, number in await asyncio.to_thread(self._state.event_numbers)
        )
        if self._settings.inventory.file:
            for device in await asyncio.to_thread(load_inventory, Path(self._settings.inventory.file)):
                self._fleet.declare(
                    device.uuid, device.node, device.site or self._settings.site, device.vendor, device.model,
                    device.device_class,
                )
        await self._start_leases()

    async def _start_leases(self) -> None:
        """Whoever has devices has them again before anything is answered."""
        file = await asyncio.to_thread(LeaseFile, Path(self._settings.state.dir))
        self._desk = Desk(file, self._fleet, self._engine, self._fitter, Around(
            monotonic=time.monotonic, wall=time.time, flush=self._pipeline.flush,
            prepare=self._view.prepare, refresh=self._view.refresh,
            send=self._pipeline.streams.send_fences, note=self._journal.note, failed_fast=self._cordons.failed_fast,
        ))
        self._stops.append(("leases", self._desk.close))
        self._watches = Watchers(Feed(self._fleet, self._view, self._desk.lease_on))
        self._quiescing = Quiescing(
            self._fleet, self._engine, self._pipeline.streams.send, self._view.refresh, self._holder_of
        )
        self._pipeline.heard = Listeners(self._desk, self._ledgers, self._health, self._processes, self._quiescing)

    async def _close_state(self) -> None:
        await asyncio.to_thread(self._state.close)

    async def _start_identities(self) -> None:
        await asyncio.to_thread(self._identities.start)
        self._stops.append(("identities", self._close_identities))
        self._believe()

    async def _close_identities(self) -> None:
        await asyncio.to_thread(self._identities.close)

    def _believe(self) -> None:
        """Streams that the newest word on certificates forbids end now."""
        found = self._identities
        self._own.certificate, self._own.certificate_problem = found.certificate, found.problem
        if (authority := found.authority) is not None:
            self._server.renewal.renew = lambda shown, request: authority.renew(shown, request, time.time())
        self._pipeline.streams.review(found.revocations, time.time(), time.monotonic())

    async def _start_pipeline(self) -> None:
        for name, part in (("turns", self._turn), ("chores", self._do_chores),
                           ("events", self._saving.keep_events), ("keep", self._saving.keep_on),
                           ("identities", self._mind_identities)):
            self._tasks.append(asyncio.create_task(part(), name=name))
        self._stops.append(("pipeline", self._stop_tasks))

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start_writer(self) -> None:
        self._opened = asyncio.Event()
        self._writer_stopped = threading.Event()
        loop = asyncio.get_running_loop()

        def deliver(progress: Progress) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: a commit that outlived the bounds of stopping
                loop.call_soon_threadsafe(self._delivered, progress)

        self._writer_thread, ended = minded.start(
            "writer", partial(self._writer.run, deliver, self._writer_stopped, DRAIN_S)
        )
        ended.add_done_callback(lambda _: self._opened.set())  # nobody waits for what will never come
        self._tasks.append(asyncio.create_task(asyncio.wait_for(ended, None), name="writer"))
        self._stops.append(("writer", self._stop_writer))
        try:
            async with asyncio.timeout(OPEN_S):
                await self._opened.wait()
        except TimeoutError:
            log.error("store has not opened after %.0f s; going on without it", OPEN_S)

    def _delivered(self, progress: Progress) -> None:
        self._opened.set()
        self._pipeline.deliver(progress)

    async def _stop_writer(self) -> None:
        self._writer_stopped.set()
        self._writer.hurry()
        await asyncio.to_thread(self._writer_thread.join, DRAIN_S + 1)

    async def _start_grpc(self) -> None:
        listen, files = self._settings.grpc.listen, self._identities.files
        secret = credentials(files.pems, self._identities.follower()) if files is not None else None
        self._stops.append(("grpc", self._stop_grpc))
        self.grpc_port = await self._server.start(listen, secret)

    async def _stop_grpc(self) -> None:
        """What has come is stored first, and the agents hear of it."""
        self._pipeline.flush(time.monotonic())
        await self._stop_writer()
        for _ in range(round(ACKS_S / FLUSH_S)):
            if self._pipeline.streams.quiet:
                break
            await asyncio.sleep(FLUSH_S)
        self._pipeline.streams.close_all("the collector is stopping")
        await self._server.stop(1.0)

    async def _start_alerts(self) -> None:
        self._alerted = Alerted(self._settings, self._version, self._alert_rules, Watched(
            self._fleet, self._engine, self._view, self._health, self._imports, self._pipeline, self._writer,
            self._store, self._journal, self._own,
        ))
        await self._alerted.start()
        self._stops.append(("alerts", self._alerted.stop))
        self._own.alerts = self._alerted.measures

    async def _start_http(self) -> None:
        settings = self._settings
        tokens = Tokens(Path(settings.auth.tokens_file)) if settings.auth.tokens_file else None
        answers = Live(
            self._fleet, self._engine, self._view, self._state, self._store, self._readiness, self._own.measures,
            self._fitter.directory, self._cordons.on_device, self._holder_of, self._desk.retired,
            incidents=self._health.incidents, phases=self._phases,
            on_device=self._processes.on_device,
        )
        open_host = settings.auth.insecure and not is_loopback(settings.http.listen)
        app = make_app(
            answers, tokens, self._version, loopback_only=not open_host,
            alerts=Alerts(self._alerted.alerting, self._alerted.delivery, settings.alerts, time.time),
            cordons=self._cordons,
            enrolment=Office(lambda: self._identities.authority),
            fit=self._fitter,
            kubernetes=Extender(self._fleet, self._view),
            leases=self._desk,
            ledgers=self._ledgers,
            quieter=self._quiescing,
            recordings=self._recordings,
            watches=self._watches,
        )
        server = HttpServer(app, settings.http.listen, settings.tls.cert, settings.tls.key)
        self.http = await server.start()
        self._web = server
        self._stops.append(("http", server.stop))
        self._stops.append(("endless answers", self._end_endless_answers))
        self._tasks.append(asyncio.create_task(server.wait(), name="http"))

    async def _end_endless_answers(self) -> None:
        self._watches.close()
        self._recordings.close()

    def _holder_of(self, row: int) -> str:
        return self._desk.holder(self._fleet.identities[row].uuid) or self._imports.holder(row)

    def _readiness(self) -> list[str]:
        problem = self._desk.problem
        return [*self._own.readiness(), *([f"leases: {problem}"] if problem else [])]

    def _recorder(self) -> Recorder:
        return Recorder(self._fleet, self._engine, self._view, self._version, time.monotonic(), time.time())

    # --- parts that run for ever ---

    async def _turn(self) -> None:
        """Micro-batches; and, since nothing works without them, systemd's watchdog. The writer has no part in it:
        Writer.trouble says why."""
        now = time.monotonic()
        watchdog = Watchdog(watchdog_interval_s(), now)
        while True:
            # A fleet that comes back brings minutes of evidence: the longer it takes to judge, the larger the batches,
            # and never more than half of the time.
            await asyncio.sleep(max(FLUSH_S, time.monotonic() - now))
            now = time.monotonic()
            judged = self._pipeline.judged
            self._pipeline.flush(now)
            if self._pipeline.judged > judged and (len(self._watches) or self._recordings.recording):
                self._view.refresh()
            self._pipeline.streams.pulse()
            watchdog.worked()
            if watchdog.due(now):
                notify("WATCHDOG=1")

    async def _mind_identities(self) -> None:
        shown = self._identities.follower()
        while True:
            await asyncio.sleep(IDENTITIES_S)
            await asyncio.to_thread(self._identities.look)
            self._believe()
            if self._web is not None and shown() is not None:
                try:
                    self._web.reload()
                except OSError as error:  # they changed once more since they were looked at
                    log.error("certificates of HTTP not read again: %s", error)

    async def _do_chores(self) -> None:
        serving = True
        status = ""
        while True:
            await asyncio.sleep(CHORES_S)
            self._pipeline.ask_again()
            with self._pipeline.stage("leases"):
                self._desk.tick(time.monotonic())
            with self._pipeline.stage("health"):
                if self._health.due(time.monotonic(), time.time()):
                    self._health.tick(self._view.now().assessment.reasons, time.monotonic(), time.time())
            self._view.now()  # so that a change of phase bears its time, whether somebody asks or not
            if status != (status := self._own.status()):
                notify_status(status)
            if serving != (not self._writer.trouble(time.monotonic())):
                serving = not serving
                await self._server.serving(serving)


async def run(settings: Settings, version: str) -> int:
    """Until SIGTERM or SIGINT; the exit status."""
    collector = Collector(settings, version)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Accepting(time.monotonic))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await collector.start()
    waits: list[Coroutine[Any, Any, object]] = [asked.wait(), collector.failed()]
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await collector.stop()
    log.info("collector stopped")
    return 0 if asked.is_set() else 1
