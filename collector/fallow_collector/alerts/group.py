"""Groups: alerts with the same value in each label of `group_by` are told together."""

from collections.abc import Collection, Mapping

import msgspec

from fallow_collector.alerts.matchers import Matcher, quoted
from fallow_collector.alerts.notification import Notification


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver knows of a group. firing: fingerprints of what was told as firing and not as resolved since.
    at_s: when the newest notification was made; None: long ago, or never. began_s: since when something fires while
    nothing is told; None: nothing does. Both on the clock of the alerts."""

    receiver: str
    group_key: str
    firing: frozenset[str] = frozenset()
    at_s: float | None = None
    began_s: float | None = None

    @property
    def is_blank(self) -> bool:
        return not self.firing and self.at_s is None and self.began_s is None

    def by(self, sent: "Sending") -> "Told":
        """Now that this was delivered, or given up."""
        return msgspec.structs.replace(self, firing=sent.firing | (self.firing - sent.resolved))


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A notification in the outbox. firing, resolved: fingerprints of all that it tells, those left out for want of
    room too. since_s: when it was put there, or the one whose place it took."""

    notification: Notification
    firing: frozenset[str]
    resolved: frozenset[str]
    since_s: float


def labels_of_group(labels: Mapping[str, str], group_by: Collection[str]) -> tuple[tuple[str, str], ...]:
    """By name; a label that the alert does not have is left out."""
    return tuple((name, labels[name]) for name in sorted(set(group_by)) if name in labels)


def group_key(matchers: Collection[Matcher], labels: tuple[tuple[str, str], ...]) -> str:
    """As Alertmanager writes it: the route, which is the receiver's matchers, and the group's labels."""
    route = f"{{}}/{{{','.join(sorted(map(str, matchers)))}}}" if matchers else "{}"
    return f"{route}:{{{', '.join(f'{name}={quoted(value)}' for name, value in labels)}}}"
