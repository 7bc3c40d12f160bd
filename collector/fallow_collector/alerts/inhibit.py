"""Inhibition: an alert that says the greater thing keeps lesser ones from being told.

Alertmanager's semantics (inhibit.go): only firing alerts inhibit, silenced and inhibited ones too; a label that neither
has is equal; an alert that matches both sides is not inhibited by one that does, itself included.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fallow_collector.alerts.matched import Matched
from fallow_collector.alerts.matchers import parse_all
from fallow_collector.alerts.rule import Inhibition

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Inhibitor:
    """One inhibition and the alerts that match its sides."""

    source: Matched
    target: Matched
    equal: tuple[str, ...]

    @classmethod
    def of(cls, inhibition: Inhibition) -> "Inhibitor":
        """Raises MatcherError."""
        return cls(
            Matched(parse_all(inhibition.source)), Matched(parse_all(inhibition.target)), inhibition.equal
        )

    def update(self, came: Mapping[str, Labels], gone: Collection[str] = ()) -> None:
        self.source.update(came, gone)
        self.target.update(came, gone)

    def inhibited(self, firing: Collection[str], labels: Mapping[str, Labels]) -> dict[str, str]:
        """Of each alert that is inhibited, the fingerprint of one that does it."""
        sources, targets = self.source.fingerprints, self.target.fingerprints
        anyone: dict[tuple[str, ...], str] = {}
        one_sided: dict[tuple[str, ...], str] = {}
        for each in sorted(sources.intersection(firing)):
            key = self._key(labels[each])
            anyone.setdefault(key, each)
            if each not in targets:
                one_sided.setdefault(key, each)
        if not anyone:
            return {}
        found = {}
        for each in targets:
            by = (one_sided if each in sources else anyone).get(self._key(labels[each]))
            if by is not None:
                found[each] = by
        return found

    def _key(self, labels: Labels) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self.equal)


def inhibited_by(
    inhibitors: Collection[Inhibitor], firing: Collection[str], labels: Mapping[str, Labels]
) -> dict[str, list[str]]:
    """By fingerprint of what is inhibited. labels: of all alerts."""
    found: dict[str, list[str]] = {}
    for inhibitor in inhibitors:
        for target, source in inhibitor.inhibited(firing, labels).items():
            by = found.setdefault(target, [])
            if source not in by:
                by.append(source)
    return found
