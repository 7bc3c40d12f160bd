"""What is said of a quiesce on the node itself: two small files in the run folder, which only the agent's user and root
may write.

    quiesce.json    the order: until when the vendors' readers let go, and who asked. Whoever asks puts it there; the
                    agent looks once a second, and removes it when its time is over
    quiesced.json   the answer: how each reader is, and what it had open, so that an agent that is started meanwhile
                    names the devices that it does not touch

Times are on CLOCK_BOOTTIME, so no change of the wall clock makes it longer; a file of another boot means nothing.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from fallow_agent.errors import QuiesceError
from fallow_agent.readers.messages import Opened
from fallow_agent.readers.status import State
from fallow_proto.durable import replace

ORDER = "quiesce.json"
ANSWER = "quiesced.json"
LONGEST_S = 86_400.0
SHORTEST_S = 5.0  # an agent that looks once a second would be back before anybody heard that it had let go
_LET_GO = frozenset({State.QUIESCED, State.ABSENT})


class Order(msgspec.Struct, frozen=True):
    boot_id: str
    until: float  # boot time, seconds
    by: str


class Told(msgspec.Struct, frozen=True):
    name: str
    state: State
    message: str

    @property
    def has_let_go(self) -> bool:
        return self.state in _LET_GO


class Answer(msgspec.Struct, frozen=True):
    order: Order
    readers: list[Told]
    opened: dict[str, Opened]  # by reader


Content = TypeVar("Content", Order, Answer)


def left_s(order: Order, boot_id: str, now: float) -> float | None:
    """For how long it still holds; None: not any more, or it was never given here. now: boot time."""
    left = order.until - now
    return left if order.boot_id == boot_id and 0.0 < left <= LONGEST_S else None


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read(path: Path, kind: type[Content]) -> Content | None:
    """None: there is none. Raises QuiesceError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise QuiesceError(f"{path} cannot be read: {error}; `fallow-agent resume` removes it") from error


def write(path: Path, content: Order | Answer) -> None:
    """Raises QuiesceError."""
    try:
        replace(path, msgspec.json.encode(content), mode=0o644)
    except OSError as error:
        raise QuiesceError(
            f"{path} cannot be written: {error.strerror}; only root and the agent's user may, and the agent makes its "
            f"folder"
        ) from error


def remove(path: Path) -> bool:
    """False: there was none. Raises QuiesceError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise QuiesceError(f"{path} cannot be removed: {error.strerror}; only root and the agent's user may") from error
    return True
