"""What one incident does not say, and several do: it comes back, it outlives reboots, it hits everybody's jobs, a port
goes down again and again."""

from collections.abc import Sequence

from fallow_collector.health.happening import Happening
from fallow_collector.health.history import Cure
from fallow_collector.health.incident import Evidence, Incident
from fallow_collector.health.rules import Folding
from fallow_collector.health.words import Action, Role, Severity, stronger, worse
from fallow_proto.states import EventKind


def escalated(
    incidents: Sequence[Incident], bursts: Sequence[Sequence[Happening]], cures: Sequence[Cure], rules: Folding
) -> list[Incident]:
    """The same incidents, some with a stronger action; bursts are what they were made of."""
    found = []
    for position, one in enumerate(incidents):
        earlier = incidents[: position + 1]
        one = _repeated(one, earlier, rules)
        one = _survived_reboots(one, earlier, cures, rules)
        one = _met_again(one, bursts[: position + 1], rules)
        one = _flapped(one, bursts[: position + 1], rules)
        found.append(_of_several_jobs(one, bursts[: position + 1], rules))
    return found


def _repeated(one: Incident, earlier: Sequence[Incident], rules: Folding) -> Incident:
    """Programs' faults come as often as programs are run, and count for nothing here."""
    if one.severity is Severity.INFO:
        return one
    again = [each for each in earlier
             if each.severity is not Severity.INFO and each.since_ms > one.since_ms - rules.repeat_ms]
    if len(again) < rules.repeats:
        return one
    return _stronger(one, Action.CONTACT_VENDOR, Evidence(
        "incidents that come back", f"{len(again)} in {rules.repeat_s:g} s", f"fewer than {rules.repeats}"
    ))


def _survived_reboots(
    one: Incident, earlier: Sequence[Incident], cures: Sequence[Cure], rules: Folding
) -> Incident:
    if one.severity is not Severity.FAILED:
        return one
    same = [each.last_ms for each in earlier[:-1] if each.rule == one.rule]
    reboots = {cure.at_ms for cure in cures
               if cure.kind == "rebooted" and cure.at_ms <= one.since_ms and any(last <= cure.at_ms for last in same)}
    if len(reboots) < rules.reboots:
        return one
    return _stronger(one, Action.INSPECT_HARDWARE, Evidence(
        "reboots that did not cure it", str(len(reboots)), f"fewer than {rules.reboots}"
    ))


def _met_again(one: Incident, bursts: Sequence[Sequence[Happening]], rules: Folding) -> Incident:
    """What the vendor says of a code that comes back, as one bit of one link."""
    recent = [burst for burst in bursts if burst[0].first_ms > one.since_ms - rules.repeat_ms]
    for each in bursts[-1]:
        again = each.meaning.again
        if again is None:
            continue
        met = sum(any(other.meaning == each.meaning for other in burst) for burst in recent)
        if met >= again.times:
            one = _stronger(one, again.action, Evidence(
                f"comes back: {each.meaning.what}", f"{met} in {rules.repeat_s:g} s", f"fewer than {again.times}"
            ))
    return one


def _flapped(one: Incident, bursts: Sequence[Sequence[Happening]], rules: Folding) -> Incident:
    """A port that went down and came back; each is counted by its place."""
    down = {each.code for each in bursts[-1] if each.kind == EventKind.PORT_DOWN}
    recent = [each for burst in bursts for each in burst
              if each.kind == EventKind.PORT_DOWN and each.last_ms > one.last_ms - rules.flaps_ms]
    for code in sorted(down, key=str):
        times = sum(each.count for each in recent if each.code == code)
        if times >= rules.flaps:
            return _stronger(
                one._replace(severity=worse(one.severity, Severity.DEGRADED)), Action.INSPECT_HARDWARE,
                Evidence("a port flaps", f"{times} times down in {rules.flaps_s:g} s", f"fewer than {rules.flaps}"),
            )
    return one


def _of_several_jobs(one: Incident, bursts: Sequence[Sequence[Happening]], rules: Folding) -> Incident:
    """One program's fault is the program's; the same fault of several is the hardware's."""
    recent = [each for burst in bursts for each in burst
              if each.meaning.role is Role.APPLICATION and each.last_ms > one.last_ms - rules.jobs_ms]
    codes = {each.code for each in bursts[-1] if each.meaning.role is Role.APPLICATION}
    for code in sorted(codes, key=str):
        jobs = {job for each in recent if each.code == code for job in each.jobs}
        if len(jobs) >= rules.jobs:
            return _stronger(
                one._replace(severity=worse(one.severity, Severity.DEGRADED)), Action.INSPECT_HARDWARE,
                Evidence(f"jobs with the same fault, Xid {code}", f"{len(jobs)} in {rules.jobs_s:g} s",
                         f"fewer than {rules.jobs}"),
            )
    return one


def _stronger(one: Incident, action: Action, evidence: Evidence) -> Incident:
    return one._replace(action=stronger(one.action, action), evidence=(*one.evidence, evidence))
