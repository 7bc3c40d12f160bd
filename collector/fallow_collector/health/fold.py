"""From what happened to what is wrong: bursts become incidents, which are cured, grow old, and escalate. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from fallow_collector.health.escalate import escalated
from fallow_collector.health.happening import Happening
from fallow_collector.health.history import Cure
from fallow_collector.health.incident import Evidence, Incident, incident_id
from fallow_collector.health.rules import EventRule, Folding
from fallow_collector.health.words import Action, Mode, Role, Severity, weight
from fallow_proto.states import EventKind

CURES: Mapping[str, frozenset[Action]] = MappingProxyType({
    "rebooted": frozenset({Action.NONE, Action.RESTART_APP, Action.RESET_DEVICE, Action.RESTART_NODE}),
    "reloaded": frozenset({Action.NONE, Action.RESTART_APP, Action.RESET_DEVICE}),
    "cleared": frozenset({Action.NONE, Action.RESTART_APP, Action.RESET_DEVICE, Action.RESTART_NODE}),
})
"""What a reboot, a reload of the driver and its own all-clear do away with; what must be looked at stays until it has
been quiet."""

TOLD: Mapping[str, str] = MappingProxyType({
    "rebooted": "the node was restarted", "reloaded": "the driver was loaded again",
    "cleared": "the driver asks for nothing any more", "appeared": "the device came back",
    "recovered": "the reader answers again", "cancelled": "the driver took it back", "up": "the port is active again",
})

ENDS: Mapping[str, str] = MappingProxyType({
    "appeared": EventKind.DEVICE_VANISHED, "recovered": EventKind.READER_STUCK, "cancelled": EventKind.XID,
    "up": EventKind.PORT_DOWN,
})
"""What of one kind is over when the other comes."""

UNTOLD = weight(Severity.DEGRADED, Action.NONE)


class Subject(NamedTuple):
    """Of whom a history is. device, model: empty for a node as a whole."""

    node: str
    device: str = ""
    model: str = ""


def fold(
    subject: Subject, happenings: Iterable[Happening], cures: Sequence[Cure], rules: Folding, now_ms: int
) -> list[Incident]:
    """Incidents of one subject, oldest first, cleared ones included."""
    in_bursts = bursts(happenings, rules.burst_ms)
    cures = [*cures, *all_clears(in_bursts)]
    found = [_incident(subject, burst, rules) for burst in in_bursts]
    found = escalated(found, in_bursts, cures, rules)
    return [_cleared(one, burst, cures, rules, now_ms) for one, burst in zip(found, in_bursts, strict=True)]


def bursts(happenings: Iterable[Happening], silence_ms: int) -> list[list[Happening]]:
    """Runs of happenings between which it was never silent for longer, each in the order of their beginnings."""
    found: list[list[Happening]] = []
    end = 0
    for each in sorted(happenings, key=lambda each: (each.first_ms, each.event)):
        if found and each.first_ms - end <= silence_ms:
            found[-1].append(each)
        else:
            found.append([each])
            end = each.last_ms
        end = max(end, each.last_ms)
    return found


def all_clears(in_bursts: Iterable[Sequence[Happening]]) -> Iterable[Cure]:
    """The driver's own word that nothing has to be done any more, or not for one code."""
    for burst in in_bursts:
        for each in burst:
            if _tells_recovery(each) and each.meaning.action is Action.NONE:
                yield Cure("cleared", each.last_ms, "")
            if each.meaning.cancels is not None:
                yield Cure("cancelled", each.last_ms, "", each.meaning.cancels)


def primary(burst: Sequence[Happening], subject: Subject, rules: Folding) -> tuple[Happening, EventRule | None]:
    """The one to act on: the driver's newest word on recovery, else the worst; a cleanup only when it is alone."""
    words = [each for each in burst if _tells_recovery(each)]
    word = max(words, key=lambda each: (each.last_ms, *_weight(each, None)), default=None)
    if word is not None and word.meaning.action is not Action.NONE:
        return word, rules.of(word.kind, word.code, subject.model)
    own = [each for each in burst if each.meaning.role is not Role.RECOVERY] or list(burst)
    own = [each for each in own if each.meaning.role is not Role.CLEANUP] or own
    ruled = [(each, rules.of(each.kind, each.code, subject.model)) for each in own]
    return max(ruled, key=lambda pair: (*_weight(*pair), -pair[0].first_ms))


def _tells_recovery(each: Happening) -> bool:
    """Without the driver's text a change of the recovery action is known, and not to what."""
    return each.meaning.role is Role.RECOVERY and weight(each.meaning.severity, each.meaning.action) != UNTOLD


def _weight(each: Happening, rule: EventRule | None) -> tuple[int, int]:
    return weight(_severity(each, rule), _action(each, rule))


def _severity(each: Happening, rule: EventRule | None) -> Severity:
    return each.meaning.severity if rule is None or rule.severity is None else rule.severity


def _action(each: Happening, rule: EventRule | None) -> Action:
    return each.meaning.action if rule is None or rule.action is None else rule.action


def _incident(subject: Subject, burst: Sequence[Happening], rules: Folding) -> Incident:
    worst, rule = primary(burst, subject, rules)
    return Incident(
        incident_id=incident_id(subject.node, subject.device, burst[0].event),
        rule=f"{worst.kind} {worst.code}" if worst.code is not None else worst.kind,
        node=subject.node, device=subject.device, severity=_severity(worst, rule), action=_action(worst, rule),
        mode=Mode.ENFORCE if rule is None else rule.mode,
        since_ms=burst[0].first_ms, last_ms=max(each.last_ms for each in burst),
        times=sum(each.count for each in burst), summary=worst.meaning.what,
        evidence=tuple(
            Evidence(each.meaning.what, f"{each.count} times: {each.message}", events=(each.event,)) for each in burst
        ),
    )


def _cleared(
    one: Incident, burst: Sequence[Happening], cures: Sequence[Cure], rules: Folding, now_ms: int
) -> Incident:
    ended = [(cure.at_ms, TOLD[cure.kind]) for cure in cures if _cures(cure, one, burst)]
    quiet_ms = one.last_ms + rules.quiet_ms(one.severity)
    if now_ms >= quiet_ms:
        ended.append((quiet_ms, "it has been quiet since"))
    if not ended:
        return one
    at, by = min(ended)
    return one._replace(cleared_ms=at, cleared_by=by)


def _cures(cure: Cure, one: Incident, burst: Sequence[Happening]) -> bool:
    """Whatever this run of the agent told is from after the boot that it started in."""
    if cure.at_ms < one.last_ms or any(cure.epoch and each.epoch == cure.epoch for each in burst):
        return False
    if cure.kind == "up" and one.severity is not Severity.INFO:
        return False  # the port flaps: it is up until the next time
    if cure.kind in ENDS:
        return all(
            each.kind == ENDS[cure.kind] and cure.code in (None, each.code, each.meaning.cancels) for each in burst
        )
    return one.action in CURES[cure.kind]
