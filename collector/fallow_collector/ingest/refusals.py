"""Counting what was refused, and saying so in the log without flooding it."""

from collections import Counter

REPEAT_S = 60.0
"""One line a reason and node a minute: enough to be seen, too few to fill a disk."""

REMEMBERED = 4096


class Refusals:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said: dict[tuple[str, str], float] = {}
        self._unsaid: Counter[tuple[str, str]] = Counter()

    def note(self, node: str, reason: str, count: int, detail: str, now: float) -> str:
        """Count it; returns the line to log, empty when the same was said less than REPEAT_S ago."""
        self.counts[reason] += count
        key = (node, reason)
        said = self._said.get(key)
        if said is not None and now - said < REPEAT_S:
            self._unsaid[key] += count
            return ""
        if len(self._said) >= REMEMBERED:
            self._said = {key: at for key, at in self._said.items() if now - at < REPEAT_S}
            self._unsaid = Counter({key: n for key, n in self._unsaid.items() if key in self._said})
            if len(self._said) >= REMEMBERED:
                return ""
        self._said[key] = now
        count += self._unsaid.pop(key, 0)
        return f"refused node={node or '?'} reason={reason} count={count} detail={detail!r}"
