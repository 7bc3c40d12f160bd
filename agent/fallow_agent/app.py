"""The agent: readers → sampler → ring and spool → uplink. Start forward, stop backward, in bounded time."""

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from uuid import uuid4

from fallow_agent.config import Settings
from fallow_agent.enrolment.watch import Watch
from fallow_agent.epoch import Epoch
from fallow_agent.fences_thread import FencesThread
from fallow_agent.happening import Happening
from fallow_agent.kubelet import EVERY_S, Kubelet
from fallow_agent.logs import line
from fallow_agent.process_lists import Listing, message
from fallow_agent.quiet import Quiet
from fallow_agent.readers.kernel_log import KernelLog, Position
from fallow_agent.readers.kernel_nvidia import told
from fallow_agent.readers.pci_bus import accelerators
from fallow_agent.ring import Ring
from fallow_agent.sampling import Sampling, boot_clock
from fallow_agent.spool.spool import Spool
from fallow_agent.spool.thread import Committed, SpoolThread
from fallow_agent.unread import unread
from fallow_agent.uplink import words as w
from fallow_agent.uplink.backoff import Backoff
from fallow_agent.uplink.channel import Channel
from fallow_agent.uplink.protocol import State, Uplink
from fallow_proto.states import EventKind
from fallow_proto.systemd import Watchdog, notify, notify_status, watchdog_interval_s
from fallow_proto.v1 import telemetry_pb2 as pb

log = logging.getLogger(__name__)

SPOOL_STOP_S = 4.0
HAND_OVER_S = 3.0
"""A collector commits about once a second."""
LOOK_S = 0.05

SYSFS = Path("/sys")
_HOUR_MS = 3_600_000
_TROUBLE = frozenset({
    EventKind.READER_FAILED, EventKind.READER_STUCK, EventKind.DEVICE_VANISHED, EventKind.SPOOL_DROPPED,
    EventKind.SPOOL_UNUSABLE, EventKind.XID, EventKind.SXID, EventKind.DEVICE_FAULT,
})


class Agent:
    """One run of the agent. Raises SpoolBusy."""

    def __init__(self, settings: Settings, version: str) -> None:
        now = boot_clock()
        self._settings = settings
        self._version = version
        spool = settings.spool
        opened = Spool.open(Path(spool.dir), spool.max_mib << 20, round(spool.max_age_h * _HOUR_MS), time.monotonic())
        self._spool = SpoolThread(opened, self._committed)
        self._fences = FencesThread(Path(spool.dir), Path(settings.readers.run_dir), settings.node_name, time.time)
        self._epoch = Epoch(uuid4().hex, time.time(), now)
        boot_id = _boot_id()
        identity = w.Identity(settings.site, settings.node_name, version, boot_id, settings.interval_s, settings.rack)
        position = Position(Path(settings.readers.run_dir) / "kernel-log", boot_id)
        self._kernel_log = KernelLog(settings.readers.kernel_log, position)
        self._uplink = Uplink(identity, Ring(), Backoff(Random()))
        self._channel = Channel(settings, self._tell)
        self._sampling = Sampling(settings, self._note, self._inventory, self._report, self._pulse, self._listed)
        self._quiet = Quiet(Path(settings.readers.run_dir), boot_id, self._sampling)
        self._kubelet = Kubelet(settings.kubernetes.pod_resources) if settings.kubernetes.pod_resources else None
        self._reads: set[asyncio.Task[None]] = set()
        self._counters = opened.counters()
        self._problem = ""
        self._streams = 0
        self._notes = 0
        self._has_reported = False
        self._is_ready = False
        self._watchdog = Watchdog(watchdog_interval_s(), now)
        self._status = ""
        self._opened = Committed(
            recovered=opened.recovered(), counters=self._counters, damage=opened.damage(), problem=opened.problem
        )

    @classmethod
    async def serve(cls, settings: Settings, version: str) -> bool:
        """Be the agent until told to stop. Raises SpoolBusy; returns as run()."""
        return await cls(settings, version).run()

    async def run(self) -> bool:
        """Until SIGTERM or SIGINT. False: the disk did not take what was left in time."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info(line(
            "agent started", version=self._version, node=self._settings.node_name, site=self._settings.site,
            collector=self._settings.collector, epoch=self._epoch.name,
        ))
        self._epoch.note(Happening(EventKind.AGENT_STARTED, "", f"fallow-agent {self._version}"), boot_clock())
        if self._kernel_log.problem:
            log.info(line("kernel log is not read", reason=self._kernel_log.problem))
        self._committed(self._opened)
        self._tell(w.EpochBegan(self._epoch.name))
        self._tell(w.Kept(self._fences.kept()))
        self._quiet.pulse(boot_clock())  # before any reader is started
        self._sampling.start()
        self._tell(w.Started())
        asking = asyncio.create_task(self._ask_kubelet(self._kubelet)) if self._kubelet is not None else None
        watch = Watch(self._settings, lambda: self._tell(w.Recertified()))
        watching = asyncio.create_task(watch.run()) if self._settings.has_tls else None
        await stop.wait()
        for task in (asking, watching):
            if task is not None:
                task.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)  # a second one ends us at once
        return await self._stop()

    async def _stop(self) -> bool:
        notify("STOPPING=1")
        log.info("agent stopping")
        await self._sampling.stop()
        self._send_events(boot_clock(), last=True)
        await self._hand_over()
        await self._channel.close()
        if self._kubelet is not None:
            await self._kubelet.close()
        for read in self._reads:
            read.cancel()
        try:
            async with asyncio.timeout(SPOOL_STOP_S):
                await self._fences.close()
                await self._spool.close(self._epoch.time_ms(boot_clock()))
        except TimeoutError:
            log.error(line("spool not closed: its disk does not answer", directory=self._settings.spool.dir))
            return False
        self._kernel_log.close()
        log.info("agent stopped")
        return True

    async def _hand_over(self) -> None:
        """Wait a moment for the last acknowledgements, in case this node's spool is never opened again."""
        for _ in range(round(HAND_OVER_S / LOOK_S)):
            if not self._is_streaming or not self._uplink.unacknowledged.held:
                break
            await asyncio.sleep(LOOK_S)

    @property
    def _is_streaming(self) -> bool:
        return self._uplink.state is State.STREAMING

    # Readings

    def _report(self, now: float) -> None:
        """A report is due: number it, keep it, send it."""
        self._check_clock(now)
        self._send_events(now)
        report = self._epoch.report(self._sampling.sampler, now)
        self._spool.keep(report)
        self._tell(w.Sampled(report))
        self._spool.flush(report.time_ms, sent=self._is_streaming)
        self._has_reported = True
        self._watchdog.worked()

    def _pulse(self, now: float) -> None:
        """About once a second, whether there is anything to report or not."""
        if self._sampling.settled:  # before that, addresses have no names
            self._hear_kernel(now)
        # What else there is for the spool goes with the next report: a tick is at most one transaction.
        if self._send_events(now) or not self._sampling.sampler.devices:
            self._spool.flush(self._epoch.time_ms(now), sent=self._is_streaming)
        self._fences.pulse(now)
        self._quiet.pulse(now)
        self._say_how_it_is(now)

    def _send_events(self, now: float, *, last: bool = False) -> bool:
        events = self._epoch.events(now, last=last)
        for event in events:
            self._spool.keep(event)
            self._tell(w.Happened(event))
        return bool(events)

    def _hear_kernel(self, now: float) -> None:
        for each in self._kernel_log.read(now):
            if said := told(each.text):
                device = self._sampling.places.device_at(said.pci_bus_id, said.place, each.at)
                self._note(Happening(said.kind, device, said.message, said.code, "kernel", said.times), each.at)

    def _check_clock(self, now: float) -> None:
        off_s = self._epoch.outlived(time.time(), now)
        if off_s is None:
            return
        log.warning(line("wall clock was set", off_s=f"{off_s:.1f}"))
        self._send_events(now, last=True)
        self._epoch = Epoch(uuid4().hex, time.time(), now)
        self._tell(w.EpochBegan(self._epoch.name))
        self._note(
            Happening(EventKind.CLOCK_STEPPED, "", f"the wall clock is {off_s:.1f} s off from where this run's began")
        )

    def _note(self, happened: Happening, at: float | None = None) -> None:
        """at: when, where it is not now."""
        kind, device, message, code = happened[:4]
        is_new = self._epoch.note(happened, boot_clock() if at is None else at)
        if code is not None and not is_new:
            return  # a storm is one line
        self._notes += 1
        # Numbered, so that trouble that comes back is no repetition and the log's last word is true; a full spool
        # drops at each commit.
        number = {} if kind is EventKind.SPOOL_DROPPED else {"number": self._notes}
        if code is not None:
            number["code"] = code
        level = logging.WARNING if kind in _TROUBLE else logging.INFO
        log.log(level, line(kind, device=device or "-", message=message, **number))

    def _inventory(self) -> None:
        devices = self._sampling.devices()
        self._fences.show(devices)
        if self._sampling.settled:  # before that, a reader may be about to name what is on the bus
            devices += unread(accelerators(SYSFS), devices, self._settings.node_name)
        self._tell(w.Inventoried(devices, self._sampling.readers(self._epoch.time_ms)))

    def _listed(self, listings: Sequence[Listing]) -> None:
        self._tell(w.Listed([message(listing, self._epoch.time_ms) for listing in listings]))

    async def _ask_kubelet(self, kubelet: Kubelet) -> None:
        problem = ""
        while True:
            ledger = await kubelet.read(self._sampling.devices())
            if ledger.problem != problem:
                problem = ledger.problem
                log.log(logging.WARNING if problem else logging.INFO,
                        line("kubelet's allocations", problem=problem or "none any more"))
            self._tell(w.Allocated(ledger, boot_clock()))
            await asyncio.sleep(EVERY_S)

    # Uplink

    def _tell(self, event: w.Event) -> None:
        now = boot_clock()
        was_streaming = self._is_streaming
        for action in self._uplink.handle(event, now):
            self._perform(action, now)
        if self._is_streaming and not was_streaming:
            self._streams += 1  # numbered in the log, so that no line is held back as a repetition
            log.info(line("uplink streaming", stream=self._streams, collector=self._settings.collector))
        if isinstance(event, w.Lost) and was_streaming:
            log.warning(line("uplink lost", stream=self._streams, reason=event.reason))
        elif isinstance(event, w.Lost):
            log.warning(line("uplink not connected", reason=event.reason))

    def _perform(self, action: w.Action, now: float) -> None:
        match action:
            case w.Send(message):
                self._channel.send(message)
            case w.Trim(ranges):
                self._spool.trim(ranges)
            case w.ReadSpool():
                read = asyncio.create_task(self._read_spool(action, action.at - now))
                self._reads.add(read)
                read.add_done_callback(self._reads.discard)
            case w.SetAside(refused):
                log.warning(line("collector refused reports", reason=refused.reason))
                self._spool.set_aside(refused)
            case w.Exempt(holders):
                self._sampling.exempt(holders)
            case w.Fence(fences):
                self._fences.take(fences, self._fenced)
            case w.Quiesce(for_s, by):
                self._quiet.ask(for_s, by, now)
            case w.Dial(at):
                self._channel.dial(at - now)
            case w.HangUp(reason):
                self._channel.hang_up(reason)

    def _fenced(self, kept: Sequence[pb.DeviceFence], answer: Sequence[pb.DeviceFence]) -> None:
        self._tell(w.Kept(kept))
        self._tell(w.Fenced(answer))

    async def _read_spool(self, request: w.ReadSpool, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        items, until = await self._spool.read(
            request.epoch, request.lo, request.hi, request.max_bytes, events=request.events
        )
        self._tell(w.SpoolRead(request, until, items))

    # Spool

    def _committed(self, committed: Committed) -> None:
        if committed.recovered:
            self._tell(w.Recovered(committed.recovered))
        if lost := committed.dropped.reports + committed.dropped.events:
            self._tell(w.Dropped(committed.dropped.ranges, committed.dropped.reports))
            limits = f"max_mib = {self._settings.spool.max_mib}, max_age_h = {self._settings.spool.max_age_h:g}"
            message = f"the spool is at its limits ({limits}); the oldest goes"
            self._note(Happening(EventKind.SPOOL_DROPPED, "", message, times=lost))
        if committed.damage:
            message = f"what the spool held is not sent: {committed.damage}"
            self._note(Happening(EventKind.SPOOL_DROPPED, "", message))
        self._say_problem(committed.problem)
        if (damaged := committed.counters.damaged - self._counters.damaged) > 0:
            log.warning(line("spool rows were damaged and are gone", rows=damaged))
        self._counters = committed.counters

    def _say_problem(self, problem: str) -> None:
        if problem and problem != self._problem:
            message = f"reports wait in memory and end with the agent: {problem}"
            self._note(Happening(EventKind.SPOOL_UNUSABLE, "", message))
        elif self._problem and not problem:
            log.info(line("spool is on disk again", directory=self._settings.spool.dir))
        self._problem = problem

    # Whoever started us

    def _say_how_it_is(self, now: float) -> None:
        nothing_to_report = self._sampling.settled and not self._sampling.sampler.devices
        if not self._is_ready and (self._has_reported or nothing_to_report):
            self._is_ready = True
            notify("READY=1")
        if not self._sampling.sampler.reports:
            self._watchdog.worked()
        if self._watchdog.due(now):
            notify("WATCHDOG=1")
        status = f"{self._uplink.state.name.lower()}, {len(self._sampling.sampler.devices)} devices"
        if self._problem:
            status += f", spool in memory: {self._problem}"
        if status != self._status:
            self._status = status
            notify_status(status)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
