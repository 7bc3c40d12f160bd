"""Log lines: what happened, then key=value; a line that repeats itself is held back."""

import logging
from collections.abc import Callable
from time import monotonic

from fallow_proto.unread import UnreadHandler

REPEAT_S = 300.0
_KEYS = 1_000
_LONGEST = 1_000  # characters of one value


def set_up() -> None:
    """Lines to standard error, each with its time: the journal's own is when it was received."""
    handler = UnreadHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s level=%(levelname)s %(message)s"))
    handler.addFilter(Repeats(monotonic))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def line(what: str, **facts: object) -> str:
    """E.g. `uplink lost reason="connection refused" pending=12`."""
    return " ".join([what, *(f"{key}={_quoted(value)}" for key, value in facts.items())])


class Repeats(logging.Filter):
    """Lets the same line pass once in REPEAT_S; the next that passes says how many were held back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}  # text -> when it passed, how many were held back since

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        now = self._clock()
        at, held_back = self._seen.get(text, (-REPEAT_S, 0))
        if now - at < REPEAT_S:
            self._seen[text] = (at, held_back + 1)
            return False
        if len(self._seen) >= _KEYS:
            self._seen.clear()
        self._seen[text] = (now, 0)
        if held_back:
            record.msg, record.args = f"{text} repeated={held_back}", ()
        return True


def _quoted(value: object) -> str:
    text = str(value)
    if len(text) > _LONGEST:  # a collector may give reasons of any length
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    if text and text.isprintable() and not set(text) & set(' ="'):
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    return character if character.isprintable() else repr(character)[1:-1]
