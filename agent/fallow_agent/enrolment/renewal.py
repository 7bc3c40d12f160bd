"""When a certificate is renewed, and when that is urgent. Unix seconds throughout; `share` is this node's own."""

from random import Random

from fallow_agent.config import Tls
from fallow_agent.uplink.certificate import Shown
from fallow_proto.enrolment import agent_id

DUE = 2 / 3
SPREAD = 0.1
"""Of the due time: nodes that were enrolled together are not renewed together."""

SHORT = 0.25
RETRY_S = (1.0, 600.0)
LOOK_S = 10.0
"""Between two looks at the files."""


def share(random: Random) -> float:
    """Of a certificate's life, after which this node renews it."""
    return DUE * random.uniform(1 - SPREAD, 1 + SPREAD)


def renews(tls: Tls, node: str, shown: Shown) -> bool:
    """Whether it is of the collector's own authority, and lies as `fallow-agent enroll` puts it; any other's issuer
    renews it."""
    return tls.cert == tls.key and shown.ids == (agent_id(node),)


def due_at(shown: Shown, share: float) -> float:
    return shown.begins + share * (shown.ends - shown.begins)


def retry_s(shown: Shown) -> float:
    """After a renewal that failed: a hundredth of its life, so that there are some 30 attempts."""
    return min(max(RETRY_S[0], (shown.ends - shown.begins) / 100), RETRY_S[1])


def is_short(shown: Shown, now: float) -> bool:
    """Whether so little is left that somebody should look."""
    return shown.ends - now < SHORT * (shown.ends - shown.begins)
