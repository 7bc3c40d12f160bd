"""Silences: what is refused, when they hold, and for how long they are remembered."""

from typing import Any

import pytest

from fallow_collector.alerts.matchers import MatcherError
from fallow_collector.alerts.silences import KEPT_S, SilenceError, Silences, SilenceState, silence_of
from fallow_proto.alerts import SilenceWanted

WALL = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def wanted(**fields: Any) -> SilenceWanted:
    return SilenceWanted(**{"matchers": ['node="n1"'], "comment": "fan", **fields})


@pytest.mark.parametrize(("fields", "said"), [
    ({"for_s": 60.0, "matchers": []}, "of no matchers would silence everything"),
    ({"for_s": 60.0, "matchers": ['node=~".*"', "uuid="]}, "also match an alert without any label"),
    ({"ends_at": "2026-09-21T14:13:19Z"}, "ends at 2026-09-21T14:13:19Z, which is past"),
    ({"ends_at": "2026-09-22T00:00:00Z", "starts_at": "2026-09-23T00:00:00Z"}, "and starts no earlier"),
    ({"ends_at": "2026-09-22T00:00:00"}, "expected a time of RFC 3339"),
    ({"ends_at": "tomorrow"}, "ends_at = 'tomorrow', expected a time of RFC 3339"),
    ({}, "expected either for_s or ends_at"),
    ({"for_s": 60.0, "ends_at": "2026-09-22T00:00:00Z"}, "expected either for_s or ends_at"),
    ({"for_s": 0.0}, "for_s = 0, expected more than 0 seconds"),
    ({"for_s": float("nan")}, "for_s = nan, expected more than 0 seconds"),
    ({"for_s": 1e300}, "expected more than 0 seconds and at most ten years"),
    ({"for_s": 60.0, "comment": "x" * 2000}, "has 2000 characters, expected at most 1024"),
])
def test_a_silence_that_cannot_be_is_refused_with_what_is_wrong(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SilenceError) as refused:
        silence_of(wanted(**fields), "s1", WALL)
    assert said in str(refused.value)


def test_a_bad_matcher_of_a_silence_is_refused() -> None:
    with pytest.raises(MatcherError):
        silence_of(wanted(for_s=60.0, matchers=["node"]), "s1", WALL)


def test_a_silence_holds_from_its_start_to_before_its_end() -> None:
    silence = silence_of(
        wanted(starts_at="2026-09-21T14:13:30Z", ends_at="2026-09-21T16:13:40+02:00"), "s1", WALL
    )
    states = [silence.state(WALL + moment) for moment in (0, 9.9, 10, 19.9, 20)]
    assert states == [
        SilenceState.PENDING, SilenceState.PENDING, SilenceState.ACTIVE, SilenceState.ACTIVE, SilenceState.EXPIRED,
    ]


def test_a_silence_that_was_to_start_in_the_past_starts_now() -> None:
    silence = silence_of(wanted(starts_at="2026-09-21T00:00:00Z", for_s=60.0), "s1", WALL)
    assert (silence.starts_at, silence.ends_at) == (WALL, WALL + 60)


@pytest.mark.parametrize("starts_at", [None, "2026-09-22T00:00:00Z"])
def test_a_silence_that_is_ended_is_expired_at_once(starts_at: str | None) -> None:
    ended = silence_of(wanted(starts_at=starts_at, for_s=60.0), "s1", WALL).ended(WALL + 1)
    assert ended.state(WALL + 1) is SilenceState.EXPIRED
    assert ended.starts_at <= ended.ends_at


def test_only_active_silences_silence_and_old_ones_are_outdated() -> None:
    silences = Silences([silence_of(wanted(for_s=60.0), "s1", WALL)])
    silences.put(silence_of(wanted(for_s=90.0, matchers=['uuid=~"g.*"']), "s2", WALL), {})
    silences.update({"a": {"node": "n1", "uuid": "g0"}, "b": {"node": "n2"}}, ())
    assert silences.silenced_by(WALL) == {"a": ["s1", "s2"]}
    assert silences.silenced_by(WALL + 60) == {"a": ["s2"]}
    silences.update({}, ["a"])
    assert silences.silenced_by(WALL) == {}
    assert silences.outdated(WALL + 60 + KEPT_S) == ["s1"]
