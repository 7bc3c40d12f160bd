"""The process that readers' processes are forked from: small, single-threaded, and without gRPC.

Forking the agent itself would copy locks that its threads hold. The standard library's forkserver would do, but it
imports the parent's main module, and so gRPC, into every child, and keeps one more Python process for resources that
a reader does not have; within 60 MB that is too much.
"""

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
from importlib import import_module

from fallow_agent.readers import family
from fallow_agent.readers import messages as m
from fallow_agent.readers.serve import serve
from fallow_proto.unread import UnreadHandler


def main() -> None:
    """Fork a reader for each Birth that comes in on the socket whose number is argument 1, until it is closed.

    The other arguments are modules to import before, so that the readers share their memory. The readers go on
    without the zygote, and end when the agent closes their own sockets.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    agent = os.getppid()
    logging.getLogger().addHandler(UnreadHandler())  # Python's own would have a reader wait for whoever reads the log
    os.environ.pop("PYTHONPATH", None)  # it was for us; a vendor's tool may be Python, with modules of its own
    # Stopping is the agent's to order: a signal to the whole service must not cut a read off in the middle.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    awake, alarm = socket.socketpair()
    awake.setblocking(False)
    alarm.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only with a handler does the descriptor below hear of it
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    for module in sys.argv[2:]:
        with contextlib.suppress(ImportError):  # its reader will say so
            import_module(module)
    gc.collect()
    gc.freeze()  # so that no collection in a child writes to pages it shares with us
    children: dict[int, socket.socket] = {}
    while True:
        family.publish([agent, os.getpid(), *children])
        ready, _, _ = select.select([control, awake], [], [])
        if awake in ready:
            awake.recv(4096)
            _bury(children)
        if control in ready:
            packet, descriptors, _, _ = socket.recv_fds(control, m.MAX_BYTES, 1)
            if not packet:
                return
            channel = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                for inherited in (control, awake, alarm, *children.values()):
                    inherited.close()
                _live(channel, m.decode_birth(packet))
            children[pid] = channel


def _live(channel: socket.socket, birth: m.Birth) -> None:
    """Be the child, and never return to the zygote's loop."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve(channel, birth)
    except BaseException:  # noqa: BLE001  # whatever it is, only one process may return to the loop
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _bury(children: dict[int, socket.socket]) -> None:
    """Say on a dead child's own socket how it died, and let go of it."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with children.pop(pid) as channel, contextlib.suppress(OSError):
                channel.send(m.encode(m.Exited(os.waitstatus_to_exitcode(status))), socket.MSG_DONTWAIT)


if __name__ == "__main__":
    main()
