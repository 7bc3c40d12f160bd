"""The collector's log: whatever words of others a line repeats, it is one line, and says nothing to a terminal.

Each place that logs quotes what it repeats; here is the net below all of them, libraries and tracebacks included.
"""

import logging

from fallow_proto.unread import UnreadHandler


class OneLine(logging.Formatter):
    """What follows the first line, such as a traceback, is indented, so that no line can be mistaken for a record."""

    def __init__(self) -> None:
        super().__init__("level=%(levelname)s at=%(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: "logging._SysExcInfoType") -> str:  # noqa: N802  # as above
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).split("\n"))


def printable(text: str) -> str:
    """As it is, with escapes for what cannot be printed."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def set_up() -> None:
    """To standard error, where systemd's journal takes it and notes when."""
    handler = UnreadHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
