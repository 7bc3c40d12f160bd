"""Work on files that a dead device or server may hold up for ever, beside the reader's own thread.

A thread, and not another process: the reader's process is disposable already, and such waits end with it (an NFS
client's have been killable since Linux 2.6.25), so that nothing needs to be started, watched and reaped.
"""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Aside(Generic[Found]):
    """One piece of work that is done again and again, never twice at the same time."""

    def __init__(self, work: Callable[[], Found]) -> None:
        self._work = work
        self._run: Thread | None = None
        self._found: Found | None = None

    @property
    def hangs(self) -> bool:
        """Whether a run that was not waited for to the end is still under way."""
        return self._run is not None and self._run.is_alive()

    def ask(self, patience_s: float) -> Found | None:
        """What a new run finds; None when it takes longer than that, or an earlier one still hangs."""
        if self.hangs:
            return None
        self._found = None
        self._run = Thread(target=self._work_once, daemon=True)
        self._run.start()
        self._run.join(patience_s)
        return None if self._run.is_alive() else self._found

    def _work_once(self) -> None:
        self._found = self._work()
