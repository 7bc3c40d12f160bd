"""Alerts and silences as the HTTP API asks for them."""

from bisect import bisect_right
from collections.abc import Callable
from typing import TypeVar

from fallow_collector.alerts import listing
from fallow_collector.alerts.alert import Alert
from fallow_collector.alerts.alerting import Alerting
from fallow_collector.alerts.deliver import Delivery, UnknownReceiver
from fallow_collector.alerts.listing import Place, place
from fallow_collector.alerts.matchers import MatcherError, parse_all
from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.alerts.silences import SilenceError, check_sites
from fallow_collector.answers.numbers import rfc3339
from fallow_collector.api.alerts import Which
from fallow_collector.api.answers import Unavailable
from fallow_collector.api.caller import Caller
from fallow_collector.api.query import BadQuery
from fallow_collector.cordons.wanted import speaker
from fallow_collector.faulted import Faulted
from fallow_collector.state.file import StateError
from fallow_proto import alerts as shapes
from fallow_proto import api
from fallow_proto.dispatch import Fault

Shown = TypeVar("Shown")


class Alerts:
    """Implements api.alerts.AlertDesk. All calls come from the event loop's thread. wall: unix seconds."""

    def __init__(
        self, alerting: Alerting, delivery: Delivery, settings: AlertsSettings, wall: Callable[[], float]
    ) -> None:
        self._alerting = alerting
        self._delivery = delivery
        self._settings = settings
        self._wall = wall

    def alerts(self, which: Which, limit: int, cursor: str | None) -> api.Page[shapes.Alert]:
        wall = self._wall()
        found = sorted((alert for alert in self._alerting.alerts if _matches(alert, which)), key=place)
        start = 0 if cursor is None else bisect_right(found, _place_of(cursor), key=place)
        page = found[start : start + limit]
        more = start + limit < len(found)
        return api.Page(
            items=listing.alerts(self._alerting, page, wall), next=_cursor_of(place(page[-1])) if more else None,
            as_of=rfc3339(wall), complete=self._complete,
        )

    def rules(self) -> api.Page[shapes.AlertRule]:
        return self._whole(listing.rules(self._alerting))

    def receivers(self) -> api.Page[shapes.AlertReceiver]:
        return self._whole(listing.receivers(self._alerting, self._settings, self._delivery.attempted))

    async def test(self, receiver: str) -> shapes.AlertTested:
        try:
            return await self._delivery.test(receiver)
        except UnknownReceiver as error:
            raise Faulted(Fault.RECEIVER_NOT_FOUND, str(error)) from error

    def silences(self, asking: Caller) -> api.Page[shapes.Silence]:
        return self._whole(listing.silences(self._alerting, self._wall(), asking.sites))

    async def silence(self, wanted: shapes.SilenceWanted, asking: Caller) -> shapes.Silence:
        wall = self._wall()
        wanted.created_by = speaker(asking.name, wanted.created_by)
        try:
            check_sites(parse_all(wanted.matchers), asking.sites)
            return listing.silence(await self._alerting.silence(wanted, wall), wall)
        except (SilenceError, MatcherError) as error:
            raise Faulted(Fault.BAD_SILENCE, str(error)) from error
        except StateError as error:
            raise Unavailable(f"nothing was silenced: {error}") from error

    async def end_silence(self, silence_id: str, asking: Caller) -> None:
        try:
            ended = await self._alerting.end_silence(silence_id, self._wall(), asking.sites)
        except StateError as error:
            raise Unavailable(f"nothing was changed: {error}") from error
        if ended is None:
            raise Faulted(
                Fault.SILENCE_NOT_FOUND, f"there is no silence {silence_id}; `fallow silence` lists those there are"
            )

    @property
    def _complete(self) -> bool:
        evaluation = self._alerting.evaluation
        return evaluation is not None and not evaluation.problems

    def _whole(self, items: list[Shown]) -> api.Page[Shown]:
        return api.Page(items=items, next=None, as_of=rfc3339(self._wall()), complete=self._complete)


def _matches(alert: Alert, which: Which) -> bool:
    labels = alert.labels
    return all(not wanted or found in wanted for wanted, found in (
        (which.state, alert.state), (which.severity, labels.get("severity")), (which.node, labels.get("node")),
        (which.uuid, labels.get("uuid")), (which.rule, alert.rule), (which.site, labels.get("site")),
    ))


def _cursor_of(last: Place) -> str:
    return f"{last.state}:{last.mildness}:{last.age!r}:{last.fingerprint}"


def _place_of(cursor: str) -> Place:
    """Raises BadQuery."""
    try:
        state, mildness, age, fingerprint = cursor.split(":")
        return Place(int(state), int(mildness), float(age), fingerprint)
    except ValueError as error:
        raise BadQuery(f"cursor={cursor[:80]}: expected `next` of the page before") from error
