"""Lines as request bodies: joined while they are few, split where they are too many."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BODY_BYTES = 8_000_000
"""VictoriaMetrics refuses or cuts bodies above 16 to 64 MB, InfluxDB 2 above what it was told; 8 MB passes in all."""
BODY_LINES = 8_000


class Body(NamedTuple):
    """Whole lines, each with its line break. ends[i] is the offset behind line i."""

    data: bytes
    ends: NDArray[np.int64]

    @property
    def lines(self) -> int:
        return len(self.ends)

    def halves(self) -> tuple["Body", "Body"]:
        """Two bodies with half of the lines each; there must be two lines."""
        middle = self.lines // 2
        at = int(self.ends[middle - 1])
        return (
            Body(self.data[:at], self.ends[:middle]),
            Body(self.data[at:], self.ends[middle:] - at),
        )


def pack(bodies: Iterable[Body], max_bytes: int = BODY_BYTES) -> Iterator[Body]:
    """The same lines in the same order, in bodies that are as large as allowed. A single line is never split."""
    pending: list[Body] = []
    size = lines = 0
    for body in _split(bodies, max_bytes):
        if pending and (size + len(body.data) > max_bytes or lines + body.lines > BODY_LINES):
            yield _join(pending)
            pending, size, lines = [], 0, 0
        pending.append(body)
        size += len(body.data)
        lines += body.lines
    if pending:
        yield _join(pending)


def _split(bodies: Iterable[Body], max_bytes: int) -> Iterator[Body]:
    for body in bodies:
        if body.lines == 0:
            continue
        if len(body.data) > max_bytes and body.lines > 1:
            yield from _split(body.halves(), max_bytes)
        else:
            yield body


def _join(bodies: list[Body]) -> Body:
    if len(bodies) == 1:
        return bodies[0]
    starts = np.cumsum([0, *(len(body.data) for body in bodies[:-1])])
    return Body(
        b"".join(body.data for body in bodies),
        np.concatenate([body.ends + start for body, start in zip(bodies, starts, strict=True)]),
    )
