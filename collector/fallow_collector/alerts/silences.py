"""Silences: for a time, alerts that match are shown and not told. Their times are people's, unix seconds of the wall
clock."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from math import isfinite

import msgspec

from fallow_collector.alerts.matched import Matched
from fallow_collector.alerts.matchers import Matcher, Operator, parse_all
from fallow_proto.alerts import SilenceWanted

KEPT_S = 5 * 86400.0
"""After its end, as Alertmanager's `--data.retention`."""

MOST = 1000
"""That have not ended: each is held against every alert that comes."""

LONGEST_COMMENT = 1024


class SilenceError(ValueError):
    """It cannot be; the message says what was found and what was expected."""


class SilenceState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    matchers: tuple[str, ...]
    comment: str
    created_by: str
    starts_at: float
    ends_at: float

    def state(self, wall: float) -> SilenceState:
        if wall >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.ACTIVE if wall >= self.starts_at else SilenceState.PENDING

    def keeps_to(self, sites: Collection[str]) -> bool:
        """Whether it can match alerts of these sites only; empty: of whichever."""
        return not sites or _names_one(parse_all(self.matchers), sites)

    def ended(self, wall: float) -> "Silence":
        return msgspec.structs.replace(self, starts_at=min(self.starts_at, wall), ends_at=min(self.ends_at, wall))


def silence_of(wanted: SilenceWanted, silence_id: str, wall: float) -> Silence:
    """Raises SilenceError, or MatcherError of a bad matcher."""
    if not wanted.matchers:
        raise SilenceError('a silence of no matchers would silence everything; expected such as node="n1"')
    matchers = parse_all(wanted.matchers)
    everything = Matched(matchers)
    everything.update({"": {}})
    if everything.fingerprints:
        raise SilenceError(
            f"the matchers {' '.join(map(str, matchers))} also match an alert without any label, and so would silence "
            f"too much; expected one at least that needs a label to have a value"
        )
    if len(wanted.comment) > LONGEST_COMMENT:
        raise SilenceError(f"the comment has {len(wanted.comment)} characters, expected at most {LONGEST_COMMENT}")
    starts_at = wall if wanted.starts_at is None else max(wall, _time("starts_at", wanted.starts_at))
    ends_at = _end(wanted, starts_at)
    if ends_at <= wall:
        raise SilenceError(f"the silence ends at {wanted.ends_at}, which is past; expected a time to come")
    if ends_at <= starts_at:
        raise SilenceError(f"the silence ends at {wanted.ends_at}, and starts no earlier; expected an end after that")
    return Silence(
        id=silence_id, matchers=tuple(str(matcher) for matcher in matchers), comment=wanted.comment,
        created_by=wanted.created_by, starts_at=starts_at, ends_at=ends_at,
    )


def check_sites(matchers: Iterable[Matcher], sites: Collection[str]) -> None:
    """Of whoever is of these sites only (empty: of all). Raises SilenceError."""
    if sites and not _names_one(matchers, sites):
        expected = " or ".join(f'site="{site}"' for site in sites)
        raise SilenceError(
            f"the silence could match alerts of sites that this token is not for; expected a matcher {expected} beside "
            f"the others"
        )


def _names_one(matchers: Iterable[Matcher], sites: Collection[str]) -> bool:
    return any(one.name == "site" and one.operator is Operator.EQUAL and one.value in sites for one in matchers)


def _end(wanted: SilenceWanted, starts_at: float) -> float:
    match wanted.for_s, wanted.ends_at:
        case (None, str() as ends_at):
            return _time("ends_at", ends_at)
        case (float() | int() as for_s, None) if isfinite(for_s) and 0.0 < for_s <= 10 * 365 * 86400.0:
            return starts_at + for_s
        case (float() | int() as for_s, None):
            raise SilenceError(f"for_s = {for_s:g}, expected more than 0 seconds and at most ten years")
        case _:
            raise SilenceError("expected either for_s or ends_at, one of the two")


def _time(name: str, text: str) -> float:
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            raise ValueError("no time zone")
        return parsed.timestamp()
    except (ValueError, OverflowError) as error:
        raise SilenceError(
            f"{name} = {text[:80]!r}, expected a time of RFC 3339, such as 2026-11-22T10:00:00Z"
        ) from error


class Silences:
    """All of them, and what each matches of the alerts that there are."""

    def __init__(self, silences: Collection[Silence]) -> None:
        """Raises MatcherError."""
        self._matched = {each.id: (each, Matched(parse_all(each.matchers))) for each in silences}

    @property
    def all(self) -> list[Silence]:
        return [silence for silence, _ in self._matched.values()]

    def find(self, silence_id: str) -> Silence | None:
        found = self._matched.get(silence_id)
        return found[0] if found else None

    def put(self, silence: Silence, labels: Mapping[str, Mapping[str, str]]) -> None:
        """Add it, or let it take the place of the one with its id. labels: of all alerts, by fingerprint."""
        matched = Matched(parse_all(silence.matchers))
        matched.update(labels)
        self._matched[silence.id] = (silence, matched)

    def remove(self, silence_id: str) -> None:
        del self._matched[silence_id]

    def update(self, came: Mapping[str, Mapping[str, str]], gone: Collection[str]) -> None:
        for _, matched in self._matched.values():
            matched.update(came, gone)

    def outdated(self, wall: float) -> list[str]:
        """Ids of those that ended so long ago that nobody asks any more."""
        return [silence.id for silence, _ in self._matched.values() if wall - silence.ends_at >= KEPT_S]

    def unexpired(self, wall: float) -> int:
        return sum(silence.state(wall) is not SilenceState.EXPIRED for silence, _ in self._matched.values())

    def silenced_by(self, wall: float) -> dict[str, list[str]]:
        """Ids of the active silences, by fingerprint of what they match."""
        found: dict[str, list[str]] = {}
        for silence, matched in self._matched.values():
            if silence.state(wall) is SilenceState.ACTIVE:
                for fingerprint in matched.fingerprints:
                    found.setdefault(fingerprint, []).append(silence.id)
        return found
