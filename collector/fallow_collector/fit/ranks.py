"""Words in their order, when there are many of them and now and then one more."""

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.places import UNKNOWN


class Ranks:
    """Numbers words as they come, for good, and knows where each stands among them. The empty word is UNKNOWN."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._words: list[str] = []  # in their order
        self._numbers = np.zeros(0, dtype=np.int32)  # of these

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self._words)

    def numbers(self, words: Iterable[str]) -> NDArray[np.int32]:
        asked = list(words)
        self._add(sorted({word for word in asked if word and word not in self._number}))
        return np.array([self._number[word] if word else UNKNOWN for word in asked], dtype=np.int32)

    def of(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Positions in `words`."""
        ranks = np.full(len(self._words) + 1, UNKNOWN, dtype=np.int32)  # the last: of UNKNOWN
        ranks[self._numbers] = np.arange(len(self._words))
        return ranks[numbers]

    def _add(self, words: list[str]) -> None:
        """words: in their order, none of them known."""
        if not words:
            return
        first = len(self._number)
        self._number.update(zip(words, range(first, first + len(words)), strict=True))
        self._numbers = np.insert(
            self._numbers, [bisect_left(self._words, word) for word in words], np.arange(first, len(self._number))
        )
        self._words += words
        self._words.sort()  # two runs that are sorted are merged only
