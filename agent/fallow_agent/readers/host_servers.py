"""Whether the servers of network file systems answer.

What the kernel counts of NFS (/proc/self/mountstats) does not tell: a request without an answer is counted when it is
over, and an idle mount of a dead server looks like any idle mount. So each mount is asked, by statvfs(), which always
asks the server; in a thread of its own (aside.py), as a dead one never answers.
"""

import errno
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fallow_agent.readers.aside import Aside
from fallow_agent.readers.host_mounts import Mount

PATIENCE_S = 0.1
"""How long the reader waits for all mounts together before it goes on without them."""
_HUNG_S = 30.0
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.ENOENT)
"""A mount that the agent's user or sandbox may not see says nothing of its server."""


class Answers(NamedTuple):
    mounts: int
    down: int


def answers(mount: Mount) -> bool | None:
    """Asks the server, for as long as it takes; None where the mount is out of reach or hidden under another one."""
    try:
        os.statvfs(mount.path)
        device = os.stat(mount.path).st_dev  # noqa: PTH116  # a path of bytes, whatever they mean
    except OSError as error:
        return None if error.errno in _NOT_OURS else False
    return True if f"{os.major(device)}:{os.minor(device)}" == mount.device else None


class Servers:
    """Asks one mount after the other. While one does not answer, those behind it are not known: `down` is at least."""

    def __init__(self, ask: Callable[[Mount], bool | None] = answers) -> None:
        self._ask = ask
        self._asking: Sequence[Mount] = ()
        self._since = 0.0
        self._said: list[bool | None] = []
        self._aside = Aside(self._go_round)

    def take(self, mounts: Sequence[Mount], now: float) -> Answers | None:
        """None while the round goes on; from one that hangs for long, what is known so far. `now` is monotonic."""
        if self._aside.hangs:
            return self._counted(hung=1) if now - self._since >= _HUNG_S else None
        self._asking, self._since, self._said = tuple(mounts), now, []
        return self._aside.ask(PATIENCE_S)

    def _go_round(self) -> Answers:
        for mount in self._asking:
            self._said.append(self._ask(mount))
        return self._counted(hung=0)

    def _counted(self, hung: int) -> Answers:
        said = list(self._said)
        return Answers(sum(each is not None for each in said) + hung, sum(each is False for each in said) + hung)
