"""Sets of sequence numbers, kept as disjoint ranges: what the store has, what the spool holds."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of integers as sorted, disjoint, non-adjacent ranges lo..hi, both ends included."""

    __slots__ = ("_his", "_los")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._los: list[int] = []
        self._his: list[int] = []
        for lo, hi in ranges:
            self.add(lo, hi)

    def add(self, lo: int, hi: int) -> None:
        """Add lo..hi. Raises ValueError if lo > hi."""
        if lo > hi:
            raise ValueError(f"range {lo}..{hi} is empty; expected lo <= hi")
        if self._his and lo == self._his[-1] + 1:  # by far the most common: the next report
            self._his[-1] = hi
            return
        first = bisect_left(self._his, lo - 1)
        last = bisect_right(self._los, hi + 1)
        if first < last:
            lo = min(lo, self._los[first])
            hi = max(hi, self._his[last - 1])
        self._los[first:last] = [lo]
        self._his[first:last] = [hi]

    def remove(self, lo: int, hi: int) -> None:
        """Remove lo..hi, whatever of it was there."""
        first = bisect_left(self._his, lo)
        last = bisect_right(self._los, hi)
        if first >= last:
            return
        kept = []
        if self._los[first] < lo:
            kept.append((self._los[first], lo - 1))
        if self._his[last - 1] > hi:
            kept.append((hi + 1, self._his[last - 1]))
        self._los[first:last] = [k[0] for k in kept]
        self._his[first:last] = [k[1] for k in kept]

    def update(self, other: Iterable[tuple[int, int]]) -> None:
        for lo, hi in other:
            self.add(lo, hi)

    def missing(self, lo: int, hi: int) -> Iterator[tuple[int, int]]:
        """The parts of lo..hi that are not in the set, lowest first."""
        position = bisect_left(self._his, lo)
        while lo <= hi and position < len(self._los) and self._los[position] <= hi:
            if lo < self._los[position]:
                yield lo, self._los[position] - 1
            lo = self._his[position] + 1
            position += 1
        if lo <= hi:
            yield lo, hi

    def __contains__(self, number: int) -> bool:
        position = bisect_left(self._his, number)
        return position < len(self._los) and self._los[position] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._los, self._his, strict=True)))

    def __len__(self) -> int:
        """How many integers, not how many ranges."""
        return sum(self._his) - sum(self._los) + len(self._los)

    def __bool__(self) -> bool:
        return bool(self._los)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RangeSet) and self._los == other._los and self._his == other._his
        )

    __hash__ = None  # type: ignore[assignment]  # a set that changes has no hash

    def __repr__(self) -> str:
        return f"RangeSet({list(self)!r})"
