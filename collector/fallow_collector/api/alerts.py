"""Routes for alerts: what fires, by which rules, who is told, and what is silenced."""

from typing import Annotated, NamedTuple, Protocol

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter, SkipValidation

from fallow_collector.alerts.alert import State
from fallow_collector.alerts.rule import Severity
from fallow_collector.api.caller import Caller, FromCaller
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import DEFAULT_LIMIT, Cursor, Limit
from fallow_collector.api.query import known, words
from fallow_proto import api
from fallow_proto.alerts import (
    Alert,
    AlertReceiver,
    AlertRule,
    AlertTested,
    AlertTestWanted,
    Silence,
    SilenceWanted,
)

STATES = tuple(str(state) for state in State)
SEVERITIES = tuple(str(severity) for severity in Severity)


class Which(NamedTuple):
    """Filters; an empty one matches everything, and several words match any of them."""

    state: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    uuid: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    site: tuple[str, ...] = ()


class AlertDesk(Protocol):
    def alerts(self, which: Which, limit: int, cursor: str | None) -> api.Page[Alert]:
        """Raises BadQuery."""

    def rules(self) -> api.Page[AlertRule]: ...

    def receivers(self) -> api.Page[AlertReceiver]: ...

    async def test(self, receiver: str) -> AlertTested:
        """Raises Faulted."""

    def silences(self, asking: Caller) -> api.Page[Silence]: ...

    async def silence(self, wanted: SilenceWanted, asking: Caller) -> Silence:
        """Raises Faulted, Unavailable; there is none then."""

    async def end_silence(self, silence_id: str, asking: Caller) -> None:
        """Raises Faulted, Unavailable; nothing is changed then."""


FromDesk = NamedDependency[SkipValidation[AlertDesk]]

_SEVERAL = "A comma list, or repeated: any of them matches."
States = Annotated[list[str] | None, QueryParameter(name="state", description=f"Of {', '.join(STATES)}. {_SEVERAL}")]
Severities = Annotated[
    list[str] | None, QueryParameter(name="severity", description=f"Of {', '.join(SEVERITIES)}. {_SEVERAL}")
]
OfNodes = Annotated[list[str] | None, QueryParameter(name="node", description=f"Alerts of these nodes. {_SEVERAL}")]
OfUuids = Annotated[list[str] | None, QueryParameter(name="uuid", description=f"Alerts of these devices. {_SEVERAL}")]
OfRules = Annotated[list[str] | None, QueryParameter(name="rule", description=f"Alerts of these rules. {_SEVERAL}")]


@get("/api/v1/alerts", operation_id="alerts", summary="Alerts", sync_to_thread=False, responses=errors(400))
def alerts(
    alerts: FromDesk,
    caller: FromCaller,
    states: States = None,
    severity: Severities = None,
    node: OfNodes = None,
    uuid: OfUuids = None,
    rule: OfRules = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> api.Page[Alert]:
    """Firing ones first, then pending, then resolved ones of the last 15 minutes; each the worst first, of these the
    newest. `complete`: every rule could be evaluated. For a token of some sites: alerts that bear one of them."""
    which = Which(
        state=known("state", words(states), STATES), severity=known("severity", words(severity), SEVERITIES),
        node=words(node), uuid=words(uuid), rule=words(rule), site=caller.sites,
    )
    return alerts.alerts(which, limit, cursor)


@get("/api/v1/alerts/rules", operation_id="alert_rules", summary="Rules of alerts", sync_to_thread=False)
def rules(alerts: FromDesk) -> api.Page[AlertRule]:
    """Every rule, where it is written, how many alerts it has, and why it cannot be evaluated."""
    return alerts.rules()


@get("/api/v1/alerts/receivers", operation_id="alert_receivers", summary="Receivers of alerts", sync_to_thread=False)
def receivers(alerts: FromDesk) -> api.Page[AlertReceiver]:
    """Who is told of alerts, and how telling them goes."""
    return alerts.receivers()


@post(
    "/api/v1/alerts/test", operation_id="test_alert_receiver", summary="Send a receiver a test message",
    status_code=200, responses=errors(400, 404),
)
async def test(alerts: FromDesk, data: JSONBody[AlertTestWanted]) -> AlertTested:
    """Sent at once, past what waits. The answer says what the receiver said; it comes within 20 seconds."""
    return await alerts.test(data.receiver)


@get("/api/v1/silences", operation_id="silences", summary="Silences", sync_to_thread=False)
def silences(alerts: FromDesk, caller: FromCaller) -> api.Page[Silence]:
    """Those that are active or to come, and those that ended in the last 5 days; the newest first. For a token of some
    sites: those with a matcher of one of them, such as `site="south"`."""
    return alerts.silences(caller)


@post(
    "/api/v1/silences", operation_id="silence", summary="Silence alerts", status_code=200, responses=errors(400, 503),
)
async def silence(alerts: FromDesk, caller: FromCaller, data: JSONBody[SilenceWanted]) -> Silence:
    """For a time, nobody is told of alerts that all matchers match; they are still shown. An Alertmanager that alerts
    are pushed to has silences of its own, and is told all the same. A token of some sites must say of which it is, by a
    matcher such as `site="south"`."""
    return await alerts.silence(data, caller)


@delete("/api/v1/silences/{silence_id:str}", operation_id="end_silence", summary="End a silence",
        responses=errors(404, 503))
async def end_silence(alerts: FromDesk, caller: FromCaller, silence_id: FromPath[str]) -> None:
    """Whatever still fires is told of."""
    await alerts.end_silence(silence_id, caller)
