"""How the attempts at one receiver go."""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Attempted:
    """problem: of the newest attempt; empty: it succeeded, or there was none. One from before the start counts, since
    what a receiver refused is tried again minutes later. delivered_at: unix seconds of the newest success since the
    start, None: there was none. wall: unix seconds."""

    def __init__(self, receiver: str, problem: str, wall: Callable[[], float]) -> None:
        self.problem = problem
        self.delivered_at: float | None = None
        self._receiver = receiver
        self._wall = wall

    def succeeded(self) -> None:
        if self.problem:
            log.info("receiver=%s takes what is sent again", self._receiver)
        self.problem = ""
        self.delivered_at = self._wall()

    def failed(self, problem: str) -> None:
        """The same is logged once, however often it comes."""
        if problem != self.problem:
            log.warning("receiver=%s problem=%r: tried again later", self._receiver, problem)
        self.problem = problem
