"""Recordings on their way to whoever asked for one, at the pace of the reader."""

import asyncio
import weakref
import zlib
from collections.abc import AsyncIterator, Callable

from fallow_collector.api.answers import Unavailable
from fallow_collector.replay.recorder import COMPLETE, Recorder

PAUSE_S = 0.2  # between two looks at the tape
LEVEL = 1  # of compression: half of a core would be too much for the last tenth of the size
GZIP = 31  # zlib's window bits for a file of gzip


class _Turn:
    """Held by a stream, which may be dropped before it has begun."""


class Recordings:
    """Implements api.recording.Recordings. begin: starts a recorder of this moment."""

    def __init__(self, begin: Callable[[], Recorder]) -> None:
        self._begin = begin
        self._turn: weakref.ref[_Turn] | None = None
        self._recorder: Recorder | None = None
        self._closed = False

    @property
    def recording(self) -> bool:
        return self._recorder is not None and not self._recorder.ended

    def close(self) -> None:
        """A recording that runs ends, and no other one begins."""
        self._closed = True
        if self._recorder is not None:
            self._recorder.end("the collector is stopping")

    def take(self, for_s: float) -> AsyncIterator[bytes]:
        """A file of gzip; see replay.frames. Raises Unavailable."""
        if self._closed:
            raise Unavailable("the collector is stopping; record when it has started")
        if self._turn is not None and self._turn() is not None:
            raise Unavailable("a recording is being made, and one at a time is; ask again when it has ended")
        turn = _Turn()
        self._turn = weakref.ref(turn)
        return self._stream(for_s, turn)

    async def _stream(self, for_s: float, turn: _Turn) -> AsyncIterator[bytes]:
        recorder = self._recorder = self._begin()
        loop = asyncio.get_running_loop()
        until = loop.time() + for_s
        file = zlib.compressobj(LEVEL, wbits=GZIP)
        try:
            for piece in recorder.state():
                if packed := await asyncio.to_thread(file.compress, piece):
                    yield packed
            while not recorder.ended:
                await asyncio.sleep(min(PAUSE_S, max(0.0, until - loop.time())))
                if loop.time() >= until:
                    recorder.end(COMPLETE)
                if packed := await asyncio.to_thread(file.compress, recorder.taken()):
                    yield packed
            yield await asyncio.to_thread(file.compress, recorder.taken()) + file.flush()
        finally:
            recorder.end("its reader has gone")
            self._recorder = self._turn = None
