"""Drives readers' processes and the sampler in the event loop: one timer, one descriptor a reader, no tasks."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fallow_agent.config import Settings
from fallow_agent.happening import Happening
from fallow_agent.holders import Occupant, local_users, occupant_of, with_exempt
from fallow_agent.inventory import device_message, reader_message
from fallow_agent.places import Places
from fallow_agent.process_lists import Listing, ProcessLists
from fallow_agent.readers.child import Answer, ReaderChild, Zygote
from fallow_agent.readers.lifecycle import Limits
from fallow_agent.readers.messages import Happened, Opened, Read
from fallow_agent.readers.registry import VENDORS
from fallow_agent.readers.status import State, Status
from fallow_agent.sampler import Sampler
from fallow_agent.who import Who, started_s, who_is
from fallow_agent.work import from_proc, with_cpu_seconds
from fallow_proto.metrics import Group
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

STOP_S = 4.0
_SHORTEST_S = 0.001

Note = Callable[[Happening], None]

_EVENTS = {
    State.STUCK: EventKind.READER_STUCK, State.FAILED: EventKind.READER_FAILED,
    State.QUIESCED: EventKind.READER_QUIESCED,
}


def boot_clock() -> float:
    """Seconds since the machine started, suspended time included: the agent's one clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Sampling:
    def __init__(
        self,
        settings: Settings,
        note: Note,
        inventoried: Callable[[], None],
        ready: Callable[[float], None],
        pulse: Callable[[float], None],
        listed: Callable[[Sequence[Listing]], None],
    ) -> None:
        """inventoried: devices or readers changed. ready: take the sampler's report. pulse: called at least once a
        second while sampling goes on. Both get boot time. listed: the processes of these devices are others now.
        """
        now = boot_clock()
        self.sampler = Sampler(settings.interval_s, now)
        self._note = note
        self._inventoried = inventoried
        self._ready = ready
        self._pulse = pulse
        self._listed = listed
        self._lists = ProcessLists(self._who_is, started_s)
        self._holders: Sequence[pb.Holder] = ()
        self._users = local_users()
        self._cpu_seconds = from_proc()
        self._uuids: dict[str, set[str]] = {}  # by reader, of its last list of devices
        self.places = Places()
        self._opened: dict[str, Opened] = {}  # by reader, what it opened last
        self._drivers: dict[str, str] = {}  # version by reader; empty while the driver is unloaded, or has none
        self._zygote = Zygote()
        limits = Limits(answer=settings.readers.deadline_s)
        run_dir = Path(settings.readers.run_dir)
        self._children = [
            ReaderChild(name, self._zygote, run_dir, now, limits=limits) for name in settings.reader_names
        ]
        self._timer: asyncio.TimerHandle | None = None

    @property
    def settled(self) -> bool:
        """Whether every reader has said something, or missed its first deadline."""
        return all(child.settled for child in self._children)

    def exempt(self, holders: Sequence[pb.Holder]) -> None:
        """Processes that hold nothing, as the collector says."""
        self._holders = holders
        self._users = local_users()

    def quiesce(self, why: str, known: Mapping[str, Opened]) -> None:
        """Have the vendors' readers let go of their devices until resume(). why: who asked, and until when; it may be
        said anew. known: what readers had open before this agent was started, whose devices are then told as theirs.
        """
        now = boot_clock()
        for child in self._vendors():
            before = [] if child.name in self._opened else [known[child.name]] if child.name in known else []
            self._take(child, [*before, *child.quiesce(why, now)], now)

    def resume(self) -> None:
        for child in self._vendors():
            child.resume(boot_clock())

    def of_vendors(self) -> tuple[list[Status], Mapping[str, Opened]]:
        """How the vendors' readers are, and what they opened last."""
        return [child.status for child in self._vendors()], self._opened

    def _vendors(self) -> list[ReaderChild]:
        return [child for child in self._children if child.name in VENDORS]

    def devices(self) -> list[pb.Device]:
        return [device_message(reader, device) for reader, device in self.sampler.devices]

    def readers(self, time_ms: Callable[[float], int]) -> list[pb.Reader]:
        """time_ms: from boot time to unix milliseconds."""
        return [reader_message(child.status, time_ms(child.status.since)) for child in self._children]

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        for child in self._children:
            loop.add_reader(child.fileno(), self._heard, child)
        self._step()

    async def stop(self) -> None:
        """Let each reader close its devices; one that is stuck is left to itself."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        for child in self._children:
            loop.remove_reader(child.fileno())
            child.stop(boot_clock())
        give_up = boot_clock() + STOP_S
        while not all(child.over for child in self._children) and (now := boot_clock()) < give_up:
            for child in self._children:
                child.tick(now)
            await asyncio.sleep(0.02)
        for child in self._children:
            child.close()
        self._zygote.close()

    def _step(self) -> None:
        """Whatever is due; then set the timer for what is due next, so that not even a mistake here ends sampling."""
        now = boot_clock()
        try:
            self._tick(now)
            self._pulse(now)
        finally:
            self._wake_up_in_time(now)

    def _wake_up_in_time(self, now: float) -> None:
        """Set the one timer for what is due next."""
        if self._timer is not None:
            self._timer.cancel()
        deadlines = [child.deadline for child in self._children if child.deadline is not None]
        wake_at = max(min(self.sampler.wake_at, now + 1.0, *deadlines), now + _SHORTEST_S)
        self._timer = asyncio.get_running_loop().call_later(wake_at - now, self._step)

    def _tick(self, now: float) -> None:
        for child in self._children:
            if child.deadline is not None and now >= child.deadline:
                self._take(child, child.tick(now), now)
        due = self.sampler.due(now, [child.name for child in self._children if child.free])
        for child in self._children:
            if child.name in due:
                child.ask(due[child.name], now)
        if self.sampler.ready(now):
            self._ready(now)

    def _heard(self, child: ReaderChild) -> None:
        now = boot_clock()
        self._take(child, child.receive(now), now)
        if self.sampler.ready(now):
            self._ready(now)
            self._wake_up_in_time(now)  # until now it was set for readers that would not have answered

    def _take(self, child: ReaderChild, answers: Sequence[Answer], now: float) -> None:
        for answer in answers:
            match answer:
                case Read():
                    told = with_cpu_seconds(with_exempt(answer, self._holders, self._who), self._cpu_seconds)
                    self.sampler.take(child.name, told, now)
                    self._tell_lists(self._lists.take(answer.readings.get(Group.FAST, ()), self._holders, now))
                case Opened():
                    self._opened[child.name] = answer
                    self.sampler.take(child.name, answer, now)
                    self.places.learn(answer.devices, now)
                    self._loaded(child.name, {device.driver_version for device in answer.devices})
                    self._compare(child.name, {device.uuid for device in answer.devices})
                    self._inventoried()
                case Happened():
                    for happening in answer.happenings:
                        self._note(happening)
                case Status():
                    self.sampler.take(child.name, answer, now)
                    self._tell(answer)
                    self._lose_lists(answer, now)
                    self._inventoried()

    def _loaded(self, reader: str, versions: set[str]) -> None:
        """The first driver of a reader is no news."""
        version = ", ".join(sorted(versions - {""}))
        if self._drivers.get(reader, version) != version:
            self._note(Happening(EventKind.DRIVER_LOADED, "", f"reader {reader}: driver {version} is loaded"))
        self._drivers[reader] = version

    def _compare(self, reader: str, uuids: set[str]) -> None:
        """The first list of a reader is no news: that it was started is."""
        before = self._uuids.get(reader, uuids)
        self._uuids[reader] = uuids
        self._lists.drop(before - uuids)
        for uuid in sorted(uuids - before):
            self._note(Happening(EventKind.DEVICE_APPEARED, uuid, f"reader {reader} sees it now"))
        for uuid in sorted(before - uuids):
            self._note(Happening(EventKind.DEVICE_VANISHED, uuid, f"reader {reader} sees it no more"))

    def _tell(self, status: Status) -> None:
        if status.state is State.ABSENT and status.name in self._uuids:
            self._compare(status.name, set())
            self._opened.pop(status.name, None)
        gone = status.reason == pb.REASON_DRIVER or status.state is State.ABSENT
        if gone and self._drivers.get(status.name):
            self._drivers[status.name] = ""
            self._note(Happening(EventKind.DRIVER_UNLOADED, "", f"reader {status.name}: {status.message}"))
        kind = _EVENTS.get(status.state)
        if kind is EventKind.READER_QUIESCED and not self._uuids.get(status.name):
            return  # it had nothing to let go of
        if kind is None and status.name in self._uuids:
            kind = EventKind.READER_RECOVERED
        if kind is not None:
            self._note(Happening(kind, "", f"reader {status.name}: {status.message or status.state}"))

    def _lose_lists(self, status: Status, now: float) -> None:
        if status.state is not State.OK:
            problem = f"reader {status.name} is {status.state}: {status.message}"
            self._tell_lists(self._lists.lose(self._uuids.get(status.name, ()), problem, now))

    def _tell_lists(self, listings: Sequence[Listing]) -> None:
        if listings:
            self._listed(listings)

    def _who_is(self, pid: int) -> Who | None:
        return who_is(pid, self._users)

    def _who(self, pid: int) -> Occupant | None:
        return occupant_of(pid, self._users)
