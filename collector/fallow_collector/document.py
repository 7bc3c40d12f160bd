"""What dispatchers look up, as Markdown, printed from the code that answers them: leases, refusals, fit, routes.

    python -m fallow_collector.document
"""

import sys
from collections.abc import Iterable
from typing import NamedTuple

from fallow_collector.api.app import ROUTES_OF
from fallow_collector.api.gate import OPEN, needs
from fallow_collector.api.problems import STATUS_OF_FAULT
from fallow_collector.fit.needs import NEEDS
from fallow_collector.idle.document import table
from fallow_collector.leases.table import TABLE, Command, State
from fallow_proto.dispatch import Fault

MEANS: dict[Command, str] = {
    Command.RESERVE: "reserve; from a state: the same key and request again",
    Command.COMMIT: "commit",
    Command.RENEW: "renew",
    Command.RELEASE: "release",
    Command.EXPIRE: "its TTL has run out",
    Command.FENCED_HIGHER: "its node keeps a higher token",
    Command.UNKEPT: "the disk did not take it, so nobody was told of it",
    Command.CLEAN: "a device was seen quiet and clean",
    Command.STUCK: "a device was seen in use for `release_stuck_s`",
    Command.RETIRED: "an operator retires a device that is gone",
}


class Refusal(NamedTuple):
    means: str
    do: str


REFUSALS: dict[Fault, Refusal] = {
    Fault.NO_CAPACITY: Refusal(
        "no idle devices serve the request; an answer, exit status 3",
        "ask `fallow fit` with the same words what would; or watch, and ask again when something is idle",
    ),
    Fault.NOT_IDLE: Refusal(
        "a device is not idle, or not any more; `uuids` names which", "`fallow explain UUID`; ask for other devices",
    ),
    Fault.OWNED_BY_SCHEDULER: Refusal("a scheduler hands the device out", "ask that scheduler for it"),
    Fault.LEASE_NOT_FOUND: Refusal(
        "there is no lease of this id: it never was, or ended a while ago", "stop the work; reserve anew",
    ),
    Fault.LEASE_ENDED: Refusal("it was released, or nobody renewed it in time", "stop the work; reserve anew"),
    Fault.NOT_RESERVED: Refusal("it is committed already", "go on; `renew` keeps it"),
    Fault.NOT_HOLDER: Refusal("it is somebody else's", "speak with the token and holder that reserved it"),
    Fault.TOKEN_STALE: Refusal("the fencing token is lower than the lease's", "stop the work: its lease is over"),
    Fault.TOKEN_FOREIGN: Refusal(
        "the fencing token was never issued for this lease", "send the one that reserve answered",
    ),
    Fault.FENCED: Refusal(
        "its node keeps a higher token, as after a lost state folder", "stop the work; reserve anew",
    ),
    Fault.KEY_REUSED: Refusal("the idempotency key came with another request before", "a new key for each new request"),
    Fault.BAD_TTL: Refusal("the TTL is not above 0, or too long", "what the message says"),
    Fault.CORDON_NOT_FOUND: Refusal("there is no cordon of this id: it was lifted, or has ended", "`fallow cordons`"),
    Fault.NOT_OWNER: Refusal("another owner cordoned it", "ask that owner; each lifts its own"),
    Fault.RECEIVER_NOT_FOUND: Refusal("no receiver of alerts has this name", "`fallow alerts receivers`"),
    Fault.SILENCE_NOT_FOUND: Refusal(
        "there is no silence of this id: it never was, or is long over", "`fallow silence`",
    ),
    Fault.BAD_SILENCE: Refusal(
        "a matcher cannot be read, or the silence is over before it begins", "what the message says",
    ),
}


def document() -> str:
    """Four sections, with a newline at the end."""
    sections = (
        ("What becomes of a lease", _transitions()), ("Refusals", _refusals()),
        ("Why a device does not serve a request", _needs()), ("Routes", _routes()),
    )
    return "\n".join("\n".join([f"## {title}", "", *lines, ""]) for title, lines in sections)


def _transitions() -> Iterable[str]:
    return table(("what happens", "no such lease", *(str(state) for state in State)), (
        (MEANS[row.command], *(_becomes(found) for found in row[1:])) for row in TABLE
    ))


def _becomes(found: object) -> str:
    return f"**{found}**" if isinstance(found, State) else f"`{found}`"


def _refusals() -> Iterable[str]:
    return table(("`code`", "HTTP", "means", "do"), (
        (f"`{fault}`", str(STATUS_OF_FAULT[fault]), *REFUSALS[fault]) for fault in Fault
    ))


def _needs() -> Iterable[str]:
    return table(("reason", "relax", "means"), (
        (f"`{need.reason}`", f"`{need.field}`" if need.field else "–", need.means) for need in NEEDS
    ))


def _routes() -> Iterable[str]:
    rows = []
    for routes in ROUTES_OF.values():
        for route in routes:
            [path], [method] = route.paths, route.http_methods
            shown = path.replace(":str", "")
            role = "no token" if path in OPEN else str(needs(method, path))
            rows.append((f"`{method} {shown}`", role, route.summary))
    return table(("route", "role", ""), rows)


if __name__ == "__main__":
    sys.stdout.write(document())
