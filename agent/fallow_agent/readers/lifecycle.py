"""When a reader's process is started, asked, waited for, given up and started again: facts in, actions out.

Every decision about a reader's process is here; child.py only performs.

An overdue process is never killed: it may be stuck in the driver, where a signal does nothing or, with some boards,
freezes them (dcgm-exporter#84). It is waited for; when it comes back, what it read is old and dropped, and it is used
again.

Nothing of a vendor is let go of but with the process: its library stays mapped, and may keep files open, for as long as
it lives. So a reader that is quiesced has no process.
"""

from dataclasses import dataclass
from enum import Enum, auto
from signal import Signals

from fallow_agent.readers import messages as m
from fallow_agent.readers.status import State, Status
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    answer: float = 5.0
    open: float = 30.0  # without persistence mode, a driver starts each board when it is first opened
    stop: float = 2.0
    first_retry: float = 1.0  # doubled at each failure
    last_retry: float = 60.0
    absent_retry: float = 60.0  # a driver may be installed, a device plugged in
    held_retry: float = 10.0  # only the lock is tried, no driver touched
    steady: float = 60.0  # after this long without failure, retries start from the first again


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a process; its words come back as facts."""


@dataclass(frozen=True, slots=True)
class Send:
    message: m.ToChild


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the socket: the process ends by itself as soon as it looks."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An answer for whoever drives the reader."""

    answer: "m.Opened | m.Read | m.Happened | Status"


Action = Fork | Send | HangUp | Tell


class Phase(Enum):
    RESTING = auto()  # no process
    OPENING = auto()
    READY = auto()
    ASKED = auto()
    LEAVING = auto()  # it said its last words, or was told to close
    OVER = auto()  # stopped for good


class Lifecycle:
    """One reader. Every method takes `now`, seconds on a clock that never goes back, and returns actions in order."""

    def __init__(self, name: str, now: float, limits: Limits = DEFAULT_LIMITS) -> None:
        self.phase = Phase.RESTING
        self.status = Status(name, State.FAILED, now, "has not answered yet", pb.REASON_FAILED)
        self.settled = False
        """Whether anything is known: False until the first answer, or the first deadline, of the first process."""
        self._limits = limits
        self._deadline = now  # of the phase: when to fork, or when an answer is overdue, or when to hang up
        self._stopping = False
        self._held = False  # by another process, which may have the devices open
        self._quiet = ""  # why it is quiesced, and until when; empty: it is not
        self._overdue = False
        self._retry = limits.first_retry
        self._opened_at = now

    @property
    def free(self) -> bool:
        return self.phase is Phase.READY

    @property
    def deadline(self) -> float | None:
        """When tick() has something to do, if nothing else happens before."""
        match self.phase:
            case Phase.RESTING if not self._quiet:
                return self._deadline
            case Phase.OPENING | Phase.ASKED if not self._overdue:
                return self._deadline
            case Phase.LEAVING if self._stopping or (self._quiet and not self._overdue):
                return self._deadline
            case Phase.LEAVING if not self._overdue:
                return self._deadline + self._limits.stop
        return None

    def ask(self, groups: tuple[Group, ...], now: float) -> list[Action]:
        """Nothing happens unless the reader is free: a question whose answer is late is skipped, not stacked."""
        if not self.free:
            return []
        self._enter(Phase.ASKED, now + self._limits.answer)
        return [Send(m.Ask(groups))]

    def heard(self, message: m.FromChild, now: float) -> list[Action]:
        if isinstance(message, m.Happened):
            return [Tell(message)]  # no answer: a read that hangs goes on hanging
        if self.phase is Phase.LEAVING:
            return []  # its last words came before, or it was told to close
        late, self._overdue = self._overdue, False
        match self.phase, message:
            case Phase.OPENING, m.Opened():
                self._opened_at = now
                self._enter(Phase.READY, now)
                return [*self._become(State.OK, now), Tell(message)]
            case Phase.ASKED, m.Read():
                self._enter(Phase.READY, now)
                return self._become(State.OK, now) if late else [Tell(message)]
            case Phase.OPENING | Phase.ASKED | Phase.READY, m.Absent(why):
                self._rest_after(self._limits.absent_retry, now)
                return self._become(State.ABSENT, now, why)
            case Phase.OPENING | Phase.ASKED | Phase.READY, m.Held(pid):
                self._held = True
                self._rest_after(self._limits.held_retry, now)
                return self._become(State.STUCK, now, _held(pid), pb.REASON_STUCK)
            case Phase.OPENING | Phase.ASKED | Phase.READY, m.Failed(why, reason):
                return self._fail(why, pb.Reason.ValueType(reason), now)
            case Phase.OPENING | Phase.ASKED | Phase.READY, m.Ended():
                self._rest_after(0.0, now)
                return []
            case Phase.OPENING | Phase.ASKED | Phase.READY, m.Exited(code):
                return self._fail(_died(code), pb.REASON_FAILED, now)
        return []

    def unheard(self, why: str, now: float) -> list[Action]:
        """There is no talking with the process: it could not be started, or what it says makes no sense."""
        told = self._fail(why, pb.REASON_FAILED, now)
        return [*told, *self.hung_up(now)]

    def hung_up(self, now: float) -> list[Action]:
        """The process is gone, and its zygote has said all it had to say about it."""
        match self.phase:
            case Phase.RESTING | Phase.OVER:
                return []
            case Phase.LEAVING:
                told: list[Action] = []
            case _:
                told = self._fail("its process ended without a word", pb.REASON_FAILED, now)
        self._enter(Phase.OVER if self._stopping else Phase.RESTING, self._deadline)
        return [HangUp(), *told, *self._rest_quietly(now)]

    def tick(self, now: float) -> list[Action]:
        deadline = self.deadline
        if deadline is None or now < deadline:
            return []
        match self.phase:
            case Phase.RESTING:
                self._held = False
                self._enter(Phase.OPENING, now + self._limits.open)
                return [Fork()]
            case Phase.OPENING:
                return self._wait_for("opening its devices", self._limits.open, now)
            case Phase.ASKED:
                return self._wait_for("reading its devices", self._limits.answer, now)
            case Phase.LEAVING if self._stopping:
                self._enter(Phase.OVER, now)
                return [HangUp()]
            case Phase.LEAVING:
                return self._wait_for("letting go of its devices", self._limits.stop, now)
        return []

    def quiesce(self, why: str, now: float) -> list[Action]:
        """Let go of the devices until resume(). why: who asked, and until when; it may be said anew."""
        self._quiet = why
        match self.phase:
            case Phase.RESTING:
                return self._rest_quietly(now)
            case Phase.OPENING | Phase.ASKED | Phase.READY:
                overdue, deadline = self._overdue, max(self._deadline, now + self._limits.stop)
                self._enter(Phase.LEAVING, deadline)
                self._overdue = overdue  # that it is stuck was said
                return [Send(m.Close())]
            case Phase.LEAVING:
                self._deadline = now + self._limits.stop
        return []

    def resume(self, now: float) -> None:
        """Come back: at once if it has let go, else as soon as it has."""
        if self._quiet:
            self._quiet = ""
            self._deadline = now

    def stop(self, now: float) -> list[Action]:
        """End in good order if the process answers, without it if not; `phase` becomes OVER."""
        self._stopping = True
        match self.phase:
            case Phase.RESTING:
                self._enter(Phase.OVER, now)
            case Phase.OPENING | Phase.ASKED if self._overdue:
                self._enter(Phase.OVER, now)
                return [HangUp()]
            case Phase.OPENING | Phase.ASKED | Phase.READY:
                self._enter(Phase.LEAVING, now + self._limits.stop)
                return [Send(m.Close())]
            case Phase.LEAVING:
                self._deadline = now + self._limits.stop
        return []

    def _rest_quietly(self, now: float) -> list[Action]:
        """What is not on the node has nothing to let go of, and what another process holds is not ours to let go."""
        if not self._quiet or self.phase is not Phase.RESTING or self.status.state is State.ABSENT or self._held:
            return []
        return self._become(State.QUIESCED, now, self._quiet, pb.REASON_QUIESCED)

    def _enter(self, phase: Phase, deadline: float) -> None:
        self.phase = phase
        self._deadline = deadline
        self._overdue = False

    def _wait_for(self, what: str, limit: float, now: float) -> list[Action]:
        self._overdue = True
        message = f"no answer for {limit:g} s while {what}; it is waited for, and no second process is started"
        return self._become(State.STUCK, now, message, pb.REASON_STUCK)

    def _fail(self, why: str, reason: pb.Reason.ValueType, now: float) -> list[Action]:
        if self.phase is not Phase.OPENING and now - self._opened_at >= self._limits.steady:
            self._retry = self._limits.first_retry
        delay, self._retry = self._retry, min(2 * self._retry, self._limits.last_retry)
        self._rest_after(delay, now)
        return self._become(State.FAILED, now, why, reason)

    def _rest_after(self, delay: float, now: float) -> None:
        """Wait for the process to be gone, and until `delay` is over, before another is started."""
        self._enter(Phase.LEAVING, now + delay)

    def _become(
        self, state: State, now: float, message: str = "", reason: pb.Reason.ValueType = pb.REASON_OK
    ) -> list[Action]:
        self.settled = True
        old = self.status
        if (old.state, old.message) == (state, message):
            return []
        since = old.since if old.state is state else now
        self.status = Status(old.name, state, since, message, reason)
        return [Tell(self.status)]


def _held(pid: int) -> str:
    holder = f"process {pid}" if pid else "a process that did not say its number"
    return f"{holder} of an earlier agent holds the reader's lock, perhaps stuck in the driver; it must end first"


def _died(code: int) -> str:
    if code >= 0:
        return f"its process ended by itself with status {code}"
    try:
        return f"its process was ended by {Signals(-code).name}"
    except ValueError:
        return f"its process was ended by signal {-code}"
