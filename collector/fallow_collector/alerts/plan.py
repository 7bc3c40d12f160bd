"""What one receiver is to be told now of one group of alerts.

When: first `group_wait_s` after the group began; when what fires or was resolved has changed, `group_interval_s` after
the last notification; again every `repeat_interval_s` while something fires.

What: every alert that fires; and once, those resolved since they were told as firing, if the receiver wants to hear of
resolves. Silenced and inhibited alerts are left out, and what is known of them stays as it is: none is told as resolved
because of a silence, and one that was resolved under it is told when the silence ends within the time that resolved
alerts are kept.

At most one notification waits per receiver and group. A newer one takes its place, unless it is just being sent; so a
receiver that was down for an hour gets the present, not sixty notes of the past. Nothing is lost by it: what the older
one told and no longer fires is told by the newer one as resolved, with the times of both, also to a receiver that wants
no resolves, since this is all that it ever hears of it. Only what was silenced or inhibited meanwhile is taken back.
What is given up counts as told: if it goes on firing it is told at the next repeat.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from fallow_collector.alerts.group import Sending, Told


class Reason(StrEnum):
    """Alertmanager's words (notify.go), `notification_reason` of its payload."""

    FIRST = "first notification"
    NEW = "new alerts added"
    SOME_RESOLVED = "some alerts resolved"
    ALL_RESOLVED = "all alerts resolved"
    REPEAT = "repeat interval elapsed"


class Pace(NamedTuple):
    wait_s: float
    interval_s: float
    repeat_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """Fingerprints of a group's alerts that the receiver's matchers match. withheld: silenced or inhibited, firing or
    resolved; they are in neither of the others."""

    firing: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()


class Draft(NamedTuple):
    """Nothing firing and nothing resolved: what waits is to be taken back."""

    firing: frozenset[str]
    resolved: frozenset[str]
    reason: Reason


def aged(
    told: Told, present: Present, waiting: Sending | None, pace: Pace, send_resolved: bool, now_s: float
) -> Told:
    """With what is over now: alerts that are forgotten, those resolved that will not be told so, and a beginning that
    came to nothing. A beginning outlasts short breaks, so that an alert that flaps is told all the same."""
    may_be_told = told.at_s is None or now_s >= told.at_s + pace.interval_s
    lasts = present.firing | present.withheld
    firing = told.firing & (lasts | present.resolved if send_resolved or not may_be_told else lasts)
    at_s, began_s = told.at_s, told.began_s
    if firing or waiting:
        began_s = None
    elif present.firing:
        began_s = now_s if began_s is None else began_s
    else:
        at_s = None if may_be_told else at_s
        over = began_s is not None and now_s >= began_s + pace.wait_s + pace.interval_s
        began_s = None if over else began_s
    return msgspec.structs.replace(told, firing=firing, at_s=at_s, began_s=began_s)


def draft(
    present: Present, told: Told, waiting: Sending | None, pace: Pace, send_resolved: bool, now_s: float
) -> Draft | None:
    """None: nothing new. told: as `aged` leaves it. waiting: in the outbox, and not being sent."""
    unheard = waiting.firing - told.firing if waiting else frozenset()
    to_resolve = waiting.resolved if waiting else frozenset()
    counted = (told.firing - to_resolve) | unheard
    new = present.firing - counted
    ended = present.resolved & ((counted if send_resolved else unheard) | to_resolve)
    if waiting and not present.withheld.isdisjoint(waiting.firing | waiting.resolved):
        anew = Reason(waiting.notification.reason) if present.firing else Reason.ALL_RESOLVED
        return Draft(present.firing, ended, anew)
    begins = not told.firing and waiting is None
    reason = _reason(present, told, pace, now_s, begins=begins, new=bool(new), ended=bool(ended - to_resolve))
    if reason is None:
        return None
    if waiting and waiting.notification.reason == Reason.FIRST and present.firing:
        reason = Reason.FIRST
    return Draft(present.firing, ended, reason)


def _reason(
    present: Present, told: Told, pace: Pace, now_s: float, *, begins: bool, new: bool, ended: bool
) -> Reason | None:
    """Why something is to be told now. begins: the receiver knows of nothing in it."""
    if told.at_s is not None and now_s < told.at_s + pace.interval_s:
        return None
    if begins:
        waited = told.began_s is not None and now_s >= told.began_s + pace.wait_s
        return Reason.FIRST if new and waited else None
    if new:
        return Reason.NEW
    if ended:
        return Reason.SOME_RESOLVED if present.firing else Reason.ALL_RESOLVED
    if present.firing and (told.at_s is None or now_s >= told.at_s + pace.repeat_s):
        return Reason.REPEAT
    return None
