"""The file of rows that the store will never take: line protocol, so that it can be posted again by hand."""

import logging
from pathlib import Path

from fallow_collector.stores.influx.bodies import Body

_log = logging.getLogger(__name__)

_MOST_BYTES = 16 * 2**20
"""Of the file; one older file of that size is kept beside it."""


class RefusedFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, body: Body, reason: str, now: float) -> None:
        """Append the lines under a comment with the reason. The newest are kept when there are too many.

        A full disk is logged and no more: the rows are counted elsewhere, and nobody will take them anyway.
        """
        text = f"# {now:.3f} {body.lines} rows refused: {reason}\n".encode() + body.data
        try:
            if self._path.exists() and self._path.stat().st_size + len(text) > _MOST_BYTES:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            with self._path.open("ab") as file:
                file.write(text)
        except OSError as error:
            _log.error("refused_rows=%d file=%s error=%s", body.lines, self._path, error)
