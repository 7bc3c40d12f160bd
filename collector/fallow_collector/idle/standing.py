"""The rules that no reading decides: who owns a device, and whether it is in service."""

from collections.abc import Sequence
from typing import NamedTuple

from fallow_collector.idle.reasons import BIT, REASONS
from fallow_collector.idle.rule import Rule
from fallow_proto.dispatch import Cordon
from fallow_proto.states import Allocation

_NEXT = {reason.name: reason.next for reason in REASONS}
_OF_OWNERS = ("leased", "reserved", "releasing", "ledger_stale")
_OF_SERVICE = ("maintenance", "draining", "accelerator_leased", "cordoned")


class Foreign(NamedTuple):
    """A process that does not belong on the device. since_ms: unix milliseconds."""

    told: str
    since_ms: int


class Standing(NamedTuple):
    """holder: of our own lease, or the job that its scheduler names; empty where there is none. since_ms: unix
    milliseconds. cordons: all that the device is under, and windows to come. foreign: processes that do not belong on
    it while somebody has it."""

    allocation: Allocation = Allocation.FREE
    ledger: str = "fallow"
    holder: str = ""
    since_ms: int | None = None
    cordons: Sequence[Cordon] = ()
    foreign: Sequence[Foreign] = ()


def owner(standing: Standing, reasons: int) -> Rule:
    """reasons: bits, as for service."""
    known = None if standing.allocation is Allocation.UNKNOWN else standing.allocation is Allocation.FREE
    who = f" by {standing.holder}" if standing.holder else ""
    return Rule(
        "owner", known, f"{standing.allocation}{who}, in ledger {standing.ledger}", "free",
        None if known else standing.since_ms, _next(reasons, _OF_OWNERS),
    )


def strangers(standing: Standing, reasons: int) -> Sequence[Rule]:
    """No rule where nothing is foreign: of most processes nobody can tell."""
    if not standing.foreign or not reasons & int(BIT["foreign_process"]):
        return ()
    return (Rule(
        "processes of its holder", False, "; ".join(one.told for one in standing.foreign),
        "all of the user or in the control group of the job that has it",
        min(one.since_ms for one in standing.foreign), _NEXT["foreign_process"],
    ),)


def service(standing: Standing, reasons: int) -> Rule:
    active = [_told(cordon) for cordon in standing.cordons if cordon.active]
    if reasons & int(BIT["accelerator_leased"]):
        active.append("an accelerator of this host is held")
    coming = [_told(cordon) for cordon in standing.cordons if not cordon.active]
    return Rule(
        "service", not active, "; ".join([*(active or ["in service"]), *coming]), "in service", None,
        _next(reasons, _OF_SERVICE),
    )


def _told(cordon: Cordon) -> str:
    """Who says what until when, and why."""
    if cordon.ends is not None:
        until = f"until {cordon.ends}"
    elif cordon.expires_in_s is not None:
        until = f"for {cordon.expires_in_s:.0f} s more"
    else:
        until = "until it is lifted"
    start = f"from {cordon.starts} " if cordon.starts is not None and not cordon.active else ""
    reason = f": {cordon.reason}" if cordon.reason else ""
    return f"{cordon.kind} by {cordon.owner} {start}{until}{reason}"


def _next(reasons: int, names: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(_NEXT[name] for name in names if reasons & int(BIT[name])))
