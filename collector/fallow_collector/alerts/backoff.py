"""How long is waited between attempts. Pure; chance is an argument."""

from fallow_collector.alerts.receivers.verdict import Again, Refused

STEPS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
JITTER = 0.2
ASKED_MOST_S = 900.0
"""A receiver may ask for a longer pause than ours, not for one that would hide an alert for hours."""

REFUSED_S = 600.0
REFUSED_MOST = 12
"""Attempts at what a receiver refuses: two hours in which somebody may mend a token or an address."""

DEAD_S = 86_400.0


TURN_S = 2.0


def backoff_s(failures: int, chance: float) -> float:
    """After so many failures in a row, at least 1. chance: 0 to 1, so that many collectors whose receiver failed do not
    come back at one moment."""
    return STEPS_S[min(failures, len(STEPS_S)) - 1] * (1 + JITTER * (2 * chance - 1))


def pause_s(verdict: Again | Refused, failures: int, chance: float) -> float:
    """What passes before the receiver is sent anything else. failures: of the receiver, in a row, this one included."""
    return max(backoff_s(failures, chance) / 2, _asked_s(verdict))


def retry_s(verdict: Again | Refused, failures: int, chance: float) -> float:
    """What passes before the same is sent again. failures: of this notification, this one included.

    Longer than the pause, so that the others of the receiver get their turn first: one that a receiver chokes on holds
    up nobody.
    """
    asked_s = _asked_s(verdict)
    slowly_s = REFUSED_S if isinstance(verdict, Refused) else 0.0
    return max(backoff_s(failures, chance), slowly_s, asked_s + TURN_S if asked_s else 0.0)


def is_dead(verdict: Again | Refused, refusals: int, age_s: float) -> bool:
    """Whether it is given up. refusals: of this notification, this one included."""
    return age_s >= DEAD_S or (isinstance(verdict, Refused) and refusals >= REFUSED_MOST)


def _asked_s(verdict: Again | Refused) -> float:
    return min(verdict.after_s or 0.0, ASKED_MOST_S) if isinstance(verdict, Again) else 0.0
