"""The agent's side of readers' processes: it performs what lifecycle.py decides, and never blocks."""

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from fallow_agent.readers import messages as m
from fallow_agent.readers.lifecycle import DEFAULT_LIMITS, Action, Fork, HangUp, Lifecycle, Limits, Phase, Send, Tell
from fallow_agent.readers.registry import READERS
from fallow_agent.readers.status import Status
from fallow_proto.metrics import Group

Answer = m.Opened | m.Read | m.Happened | Status


class Zygote:
    """The process that readers' processes are forked from, started when first needed and again if it died."""

    def __init__(self, readers: Iterable[str] = READERS) -> None:
        """`readers` are those of the registry whose modules it imports before it forks: about 2 MB less for each."""
        self._modules = sorted({READERS[name].partition(":")[0] for name in readers})
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, birth: m.Birth) -> socket.socket:
        """The agent's end of a new child's socket; it reads as closed at once when the child could not be forked.

        Raises OSError when there cannot even be a socket.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, m.MAX_BYTES // 2)  # the kernel takes it twice
            try:
                socket.send_fds(self._line(), [m.encode(birth)], [theirs.fileno()])
            except OSError:
                self.close()
        return ours

    def close(self) -> None:
        """Let it end. Its children go on until their own sockets are closed."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            # It has nothing to do but to see the closed socket; if it does not even do that, it is left to init.
            try:
                self._process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                self._process.returncode = 0
            self._process = None

    def _line(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control.setblocking(False)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "fallow_agent.readers.zygote", str(theirs.fileno()), *self._modules],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # what a vendor's library prints is not the agent's answer
                    start_new_session=True,  # Ctrl-C is for the agent, not for a read in the middle
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
        return self._control


class ReaderChild:
    """One reader in a process of its own. `now` is in seconds, on one clock that never goes back, for all calls.

    Call tick() when `deadline` is reached, and receive() when fileno() is readable; both return what there is to know:
    Opened (the devices, again whenever they may have changed), Read (the answer to ask()), Status (a change of state),
    Happened (what the driver told unasked).
    """

    def __init__(
        self,
        name: str,
        zygote: Zygote,
        run_dir: Path,
        now: float,
        *,
        limits: Limits = DEFAULT_LIMITS,
        target: str | None = None,
    ) -> None:
        """`run_dir` must exist and outlive the agent's restarts: the lock in it keeps a stuck driver from being
        touched twice. `target` is "module:Class" for a reader that is not in the registry.
        """
        self.name = name
        self._zygote = zygote
        self._birth = m.Birth(name, target or READERS[name], str(run_dir / f"reader-{name}.lock"))
        self._life = Lifecycle(name, now, limits)
        self._channel: socket.socket | None = None
        # One descriptor for life, so that an event loop need not learn a new one at each restart.
        self._poll = select.epoll()

    @property
    def status(self) -> Status:
        return self._life.status

    @property
    def settled(self) -> bool:
        """Whether `status` rests on an answer or a deadline; False while the first process is starting."""
        return self._life.settled

    @property
    def free(self) -> bool:
        """Whether ask() will ask."""
        return self._life.free

    @property
    def over(self) -> bool:
        """Whether stop() has been done with."""
        return self._life.phase is Phase.OVER

    @property
    def deadline(self) -> float | None:
        """When to call tick() at the latest."""
        return self._life.deadline

    def fileno(self) -> int:
        return self._poll.fileno()

    def ask(self, groups: Sequence[Group], now: float) -> None:
        self._perform(self._life.ask(tuple(groups), now), now)

    def receive(self, now: float) -> list[Answer]:
        answers: list[Answer] = []
        while self._channel is not None:
            try:
                packet = self._channel.recv(m.MAX_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # it died with a question unread; its zygote's word on how comes after this
            if packet:
                answers += self._hear(packet, now)
            else:
                answers += self._perform(self._life.hung_up(now), now)
        return answers

    def tick(self, now: float) -> list[Answer]:
        # What has come in is heard first: after the agent itself was held up, an answer that waits is not late.
        return [*self.receive(now), *self._perform(self._life.tick(now), now)]

    def quiesce(self, why: str, now: float) -> list[Answer]:
        """Have no process until resume(). why: who asked, and until when."""
        return self._perform(self._life.quiesce(why, now), now)

    def resume(self, now: float) -> None:
        self._life.resume(now)

    def stop(self, now: float) -> None:
        """Begin to end: go on with receive() and tick() until `over`, then close()."""
        self._perform(self._life.stop(now), now)

    def close(self) -> None:
        """Hang up at once. A stuck process ends when its driver lets go of it, and keeps its lock until then."""
        self._hang_up()
        self._poll.close()

    def _perform(self, actions: Sequence[Action], now: float) -> list[Answer]:
        answers: list[Answer] = []
        for action in actions:
            match action:
                case Fork():
                    answers += self._fork(now)
                case Send(message):
                    self._send(message)
                case HangUp():
                    self._hang_up()
                case Tell(answer):
                    answers.append(answer)
        return answers

    def _hear(self, packet: bytes, now: float) -> list[Answer]:
        try:
            message = m.decode_from_child(packet)
        except msgspec.DecodeError as error:  # a vendor's library may write over the memory of its process
            return self._perform(self._life.unheard(f"its process said what makes no sense: {error}", now), now)
        return self._perform(self._life.heard(message, now), now)

    def _fork(self, now: float) -> list[Answer]:
        try:
            self._channel = self._zygote.fork(self._birth)
        except OSError as error:  # too many open files, or no memory: the next try may find some
            return self._perform(self._life.unheard(f"its process cannot be started: {error.strerror}", now), now)
        self._poll.register(self._channel, select.EPOLLIN)
        return []

    def _send(self, message: m.ToChild) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):  # it is gone, and its socket will say so
                self._channel.send(m.encode(message))

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._poll.unregister(self._channel)
            self._channel.close()
            self._channel = None
