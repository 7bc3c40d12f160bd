"""In which order alerts are shown."""

import msgspec

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.listing import place
from tests.collector.alerts.shelf import START, alert


def made(name: str, state: State, severity: str, active_at: float = START) -> Alert:
    return msgspec.structs.replace(alert(1, state, severity=severity), fingerprint=name, active_at=active_at)


def test_what_fires_is_shown_first_and_of_that_the_worst_and_of_these_the_newest() -> None:
    wanted = [
        made("1", State.FIRING, "critical", START - 3600.0), made("2", State.FIRING, "warning", START),
        made("3", State.FIRING, "warning", START - 1.0), made("4", State.FIRING, "info"),
        made("5", State.FIRING, "none"), made("6", State.PENDING, "critical"), made("7", State.RESOLVED, "critical"),
    ]
    shown = sorted((wanted[each] for each in (6, 2, 4, 0, 5, 3, 1)), key=place)
    assert [each.fingerprint for each in shown] == list("1234567")
