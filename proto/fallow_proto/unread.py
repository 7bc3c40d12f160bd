"""Log lines to standard error for as long as somebody takes them: a program whose pipe or journal nobody reads goes on.

A handler that waited would keep the event loop from all else, and from stopping.
"""

import logging
import os
import select

_PIECE = 4096
"""Bytes that a pipe takes at once when poll(2) calls it writable: PIPE_BUF, pipe(7)."""


class UnreadHandler(logging.Handler):
    """Drops lines that nobody takes; the first that is taken again comes behind the number of those that are lost."""

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0
        self._is_cut = False  # of the last line only a part was taken

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # as logging's own handlers
            self.handleError(record)
            return
        if self._lost and self._write(f"log was not read lines_lost={self._lost}"):
            self._lost = 0
        if self._lost or not self._write(text):
            self._lost += 1

    def _write(self, text: str) -> bool:
        """Whether all of it was taken."""
        begun = "\n" if self._is_cut else ""
        line = f"{begun}{text}\n".encode(errors="backslashreplace")
        for begin in range(0, len(line), _PIECE):
            if not self._takes(line[begin : begin + _PIECE]):
                self._is_cut = self._is_cut or begin > 0
                return False
        self._is_cut = False
        return True

    def _takes(self, piece: bytes) -> bool:
        ready = self._poll.poll(0)
        if not ready or not ready[0][1] & select.POLLOUT:
            return False
        try:
            return os.write(self._descriptor, piece) == len(piece)
        except OSError:  # whoever read it is gone
            return False
