"""A reader's process: hold the lock, open, then answer until told to close. Runs in the child and nowhere else."""

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from fallow_agent.happening import Happening
from fallow_agent.readers import messages as m
from fallow_agent.readers.reader import Listens, Reader, ReaderAbsent, ReaderError
from fallow_agent.readers.registry import build
from fallow_agent.readers.told_apart import told_apart
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason

_LOG = logging.getLogger(__name__)


def serve(channel: socket.socket, birth: m.Birth) -> None:
    """Speak for one reader until the agent says close or is gone.

    Every error ends the process, with its reason as last words: only a new process has a new library, and a library
    whose driver was replaced under it never recovers.
    """
    _show_name(birth.name)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the agent is gone; so are we
        channel.send(m.encode(_last_words(channel, birth)))


def _last_words(channel: socket.socket, birth: m.Birth) -> m.FromChild:
    try:
        lock = os.open(birth.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _hold(lock):
            return m.Held(int(os.read(lock, 20).strip() or 0))
    except (OSError, ValueError) as error:
        return m.Failed(
            f"the lock file {birth.lock_path} cannot be used: {error}; expected a directory this user may write to",
            Reason.REASON_FAILED,
        )
    try:
        return _converse(channel, build(birth.target))
    except ReaderAbsent as absent:
        return m.Absent(str(absent))
    except ReaderError as error:
        return m.Failed(str(error), error.reason)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001  # a reader's mistake must not look like a silent death
        return m.Failed(f"{type(error).__name__}: {error}", Reason.REASON_FAILED)


def _hold(lock: int) -> bool:
    """Take the lock for as long as this process lives, in the kernel or out of it, and write down who holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return True


def _converse(channel: socket.socket, reader: Reader) -> m.FromChild:
    devices, problems = told_apart(reader.open())
    for problem in problems:
        _LOG.warning("%s: %s", reader.name, problem)
    left: list[str] = []
    try:
        channel.send(m.encode(m.Opened(devices, {group: tuple(reader.columns(group)) for group in Group})))
        if isinstance(reader, Listens):
            reader.listen(lambda happened: _pass_on(channel, happened), lambda why: _leave(channel, why, left))
        while packet := channel.recv(m.MAX_BYTES):
            match m.decode_to_child(packet):
                case m.Ask(groups):
                    # Looking for new devices may be slow, so it goes at the slower pace.
                    if Group.MEDIUM in groups and reader.changed():
                        return m.Ended()
                    channel.send(m.encode(m.Read({group: tuple(reader.read(group)) for group in groups})))
                case m.Close():
                    break
    finally:
        reader.close()
    # A failure, so that another process follows after a moment only: the driver has to find nobody there.
    return m.Failed(left[0], Reason.REASON_DRIVER) if left else m.Ended()


def _leave(channel: socket.socket, why: str, left: list[str]) -> None:
    """Have the conversation end as if the agent had hung up."""
    left.append(why)
    with contextlib.suppress(OSError):  # it has hung up
        channel.shutdown(socket.SHUT_RD)


def _pass_on(channel: socket.socket, happened: Sequence[Happening]) -> None:
    with contextlib.suppress(OSError):  # the agent is gone, and the conversation ends by itself
        channel.send(m.encode(m.Happened(tuple(happened))))


def _show_name(name: str) -> None:
    """So that ps and top tell a reader stuck in its driver from the agent."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"fallow-{name}", encoding="utf-8")
