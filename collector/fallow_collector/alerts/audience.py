"""Which alerts concern whom: receivers and their groups, and what is withheld from them."""

from collections.abc import Collection, Mapping

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.group import group_key, labels_of_group
from fallow_collector.alerts.inhibit import Inhibitor, inhibited_by
from fallow_collector.alerts.matched import Matched
from fallow_collector.alerts.matchers import parse_all
from fallow_collector.alerts.plan import Present
from fallow_collector.alerts.rule import Inhibition
from fallow_collector.alerts.settings import ReceiverSettings

GroupLabels = tuple[tuple[str, str], ...]
Groups = dict[str, tuple[GroupLabels, Present]]
"""By their key."""


class Audience:
    """labels: of each alert that there is, by fingerprint."""

    def __init__(
        self, receivers: Collection[ReceiverSettings], inhibitions: Collection[Inhibition], group_by: Collection[str]
    ) -> None:
        """Raises MatcherError."""
        self.labels: dict[str, Mapping[str, str]] = {}
        self._receivers = {each.name: Matched(parse_all(each.matchers)) for each in receivers}
        self._inhibitors = [Inhibitor.of(each) for each in inhibitions]
        self._group_by = tuple(group_by)
        self._group_of: dict[str, GroupLabels] = {}

    def update(self, alerts: Mapping[str, Alert]) -> tuple[dict[str, Mapping[str, str]], list[str]]:
        """These are all that there are now. Returns the labels of those that came, and those that are gone."""
        came: dict[str, Mapping[str, str]] = {key: alerts[key].labels for key in alerts.keys() - self.labels.keys()}
        gone = list(self.labels.keys() - alerts.keys())
        for key in gone:
            del self.labels[key], self._group_of[key]
        self.labels.update(came)
        self._group_of.update((key, labels_of_group(labels, self._group_by)) for key, labels in came.items())
        for receiver in self._receivers.values():
            receiver.update(came, gone)
        for inhibitor in self._inhibitors:
            inhibitor.update(came, gone)
        return came, gone

    def inhibited_by(self, alerts: Mapping[str, Alert]) -> dict[str, list[str]]:
        firing = {key for key, alert in alerts.items() if alert.state is State.FIRING}
        return inhibited_by(self._inhibitors, firing, self.labels)

    def of(self, receiver: str) -> Collection[str]:
        return self._receivers[receiver].fingerprints

    def presents(self, receiver: str, alerts: Mapping[str, Alert], withheld: Collection[str]) -> Groups:
        """The groups of a receiver."""
        members: dict[GroupLabels, tuple[list[str], list[str], list[str]]] = {}
        for key in self._receivers[receiver].fingerprints:
            state = alerts[key].state
            if state is State.PENDING:
                continue
            firing, resolved, kept_back = members.setdefault(self._group_of[key], ([], [], []))
            (kept_back if key in withheld else firing if state is State.FIRING else resolved).append(key)
        matchers = self._receivers[receiver].matchers
        return {
            group_key(matchers, labels): (
                labels, Present(frozenset(firing), frozenset(resolved), frozenset(kept_back))
            )
            for labels, (firing, resolved, kept_back) in members.items()
        }
