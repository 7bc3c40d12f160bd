"""Which of the alerts a set of matchers matches, kept as they come and go: their labels never change."""

from collections.abc import Collection, Mapping

from fallow_collector.alerts.matchers import Matcher, matching


class Matched:
    def __init__(self, matchers: Collection[Matcher]) -> None:
        self.matchers = tuple(matchers)
        self.fingerprints: set[str] = set()

    def update(self, came: Mapping[str, Mapping[str, str]], gone: Collection[str] = ()) -> None:
        """came: labels by fingerprint."""
        if came:
            self.fingerprints.update(matching(self.matchers, came))
        self.fingerprints.difference_update(gone)
