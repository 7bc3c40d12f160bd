"""The agent's side of a quiesce: follows the order in the run folder, and says there what became of it."""

import logging
import math
import time
from datetime import UTC, datetime
from pathlib import Path

from fallow_agent import quiesce
from fallow_agent.errors import QuiesceError
from fallow_agent.logs import line
from fallow_agent.quiesce import Answer, Order, Told
from fallow_agent.readers.messages import Opened
from fallow_agent.sampling import Sampling

log = logging.getLogger(__name__)


class Quiet:
    """Call it from the event loop; the run folder is in memory, and so needs no thread."""

    def __init__(self, run_dir: Path, boot_id: str, sampling: Sampling) -> None:
        self._order_path = run_dir / quiesce.ORDER
        self._answer_path = run_dir / quiesce.ANSWER
        self._boot_id = boot_id
        self._sampling = sampling
        self._signature: tuple[int, ...] | None = None  # of the order's file as it was read last
        self._asked: Order | None = None  # what it said
        self._order: Order | None = None  # what the readers were told
        self._answer: Answer | None = None

    def pulse(self, now: float) -> None:
        """Call it before sampling starts, then about once a second. now: boot time."""
        self._look()
        left = None if self._asked is None else quiesce.left_s(self._asked, self._boot_id, now)
        if self._asked is not None and left is not None:
            if self._asked != self._order:
                self._begin(self._asked, left)
            self._tell(self._asked)
        elif self._order is not None or self._asked is not None:
            self._end()

    def ask(self, for_s: float, by: str, now: float) -> None:
        """As the collector asks; 0: come back now. Raises nothing."""
        if not 0.0 <= for_s <= quiesce.LONGEST_S or math.isnan(for_s):
            log.error(line("quiesce refused", for_s=for_s, by=by, expected=f"0 to {quiesce.LONGEST_S:.0f} s"))
            return
        if for_s:
            self._asked = Order(self._boot_id, now + for_s, by)
            try:
                quiesce.write(self._order_path, self._asked)
            except QuiesceError as error:
                log.error(line("quiesce ends with this agent", error=error))
            self._signature = self._stat()
        else:
            self._asked = None
            if self._order is not None:
                self._end()
        self.pulse(now)

    def _look(self) -> None:
        signature = self._stat()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._asked = quiesce.read(self._order_path, Order)
        except QuiesceError as error:
            log.error(line("quiesce is not understood", error=error))

    def _stat(self) -> tuple[int, ...] | None:
        try:
            status = self._order_path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _begin(self, order: Order, left_s: float) -> None:
        self._order = order
        why = f"until {_moment(time.time() + left_s)}, as {order.by} asked"
        log.info(line("vendors' readers let go", why=why))
        self._sampling.quiesce(why, self._known())

    def _known(self) -> dict[str, Opened]:
        """What an earlier agent had open when it was quiesced in this boot."""
        try:
            before = quiesce.read(self._answer_path, Answer)
        except QuiesceError as error:
            log.error(line("devices that were let go are not known by name", error=error))
            return {}
        return before.opened if before is not None and before.order.boot_id == self._boot_id else {}

    def _tell(self, order: Order) -> None:
        statuses, opened = self._sampling.of_vendors()
        answer = Answer(order, [Told(each.name, each.state, each.message) for each in statuses], dict(opened))
        if answer == self._answer:
            return
        self._answer = answer
        try:
            quiesce.write(self._answer_path, answer)
        except QuiesceError as error:
            log.error(line("what became of a quiesce is not shown", error=error))

    def _end(self) -> None:
        log.info(line("vendors' readers come back"))
        self._sampling.resume()
        self._asked = self._order = self._answer = None
        for path in (self._order_path, self._answer_path):
            try:
                quiesce.remove(path)
            except QuiesceError as error:
                log.error(line("quiesce is over, and its file stays", error=error))
        self._signature = self._stat()


def _moment(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
