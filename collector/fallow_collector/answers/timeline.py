"""What a device went through: events, incidents and changes of phase in one list, newest first."""

from collections.abc import Iterable, Sequence

from fallow_collector.answers.devices import event
from fallow_collector.answers.numbers import rfc3339
from fallow_collector.health.incident import Incident
from fallow_collector.state import EventRow
from fallow_proto import api
from fallow_proto.states import Phase


def timeline(
    events: Iterable[EventRow], incidents: Iterable[Incident], phases: Iterable[tuple[float, Phase]],
    start: float, end: float, limit: int,
) -> tuple[list[api.Moment], str | None]:
    """The newest moments from start to before end (unix seconds), and where the next page ends; None: that was all."""
    found = [(row.last_ms / 1000, api.Moment(
        at=rfc3339(row.last_ms / 1000), kind="event", event=event(row)
    )) for row in events]
    for one in incidents:
        found.append((one.since_ms / 1000, api.Moment(
            at=rfc3339(one.since_ms / 1000), kind="incident", incident=incident(one)
        )))
        if one.cleared_ms is not None:
            found.append((one.cleared_ms / 1000, api.Moment(
                at=rfc3339(one.cleared_ms / 1000), kind="cleared", incident=incident(one)
            )))
    found += [(at, api.Moment(at=rfc3339(at), kind="phase", phase=str(phase))) for at, phase in phases]
    within = sorted((pair for pair in found if start <= pair[0] < end), key=lambda pair: -pair[0])
    moments = [moment for _, moment in within[:limit]]
    return moments, moments[-1].at if len(within) > limit else None


def incident(one: Incident) -> api.Incident:
    return api.Incident(
        incident_id=one.incident_id, node=one.node, device=one.device or None, rule=one.rule,
        severity=str(one.severity), action=str(one.action), mode=str(one.mode),
        since=rfc3339(one.since_ms / 1000), last=rfc3339(one.last_ms / 1000), count=one.times, summary=one.summary,
        cleared=None if one.cleared_ms is None else rfc3339(one.cleared_ms / 1000), cleared_by=one.cleared_by or None,
        evidence=[
            api.Evidence(what=each.what, found=each.found, threshold=each.threshold or None, events=list(each.events))
            for each in one.evidence
        ],
    )


def open_incidents(incidents: Sequence[Incident]) -> list[api.Incident]:
    return [incident(one) for one in incidents if one.open]
