"""What receivers are told, and when."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from fallow_collector.alerts.rule import Inhibition
from fallow_collector.alerts.settings import AlertsSettings
from tests.collector.alerts.timeline import WALL, Timeline, receiver, rule

HOT = "DeviceHot g0"


@pytest.fixture
def line(tmp_path: Path) -> Timeline:
    """Groups wait 10 s, are told again after 60 s, and every 4 h."""
    return Timeline(tmp_path)


def test_what_holds_for_long_enough_fires_and_is_told_after_the_group_has_waited(tmp_path: Path) -> None:
    line = Timeline(tmp_path, rules=[rule("DeviceHot", for_s=30)])
    line.at(5).fire("DeviceHot", uuid="g0")
    line.want_between(45, 45, firing=[HOT], reason="first notification")
    line.at(100).resolve("DeviceHot", uuid="g0")
    line.want_between(105, 105, resolved=[HOT], reason="all alerts resolved")
    line.run(300)


def test_what_holds_for_too_short_a_time_is_never_told(tmp_path: Path) -> None:
    line = Timeline(tmp_path, rules=[rule("DeviceHot", for_s=30)])
    for moment in range(0, 300, 30):
        line.at(moment).fire("DeviceHot", uuid="g0")
        line.at(moment + 29).resolve("DeviceHot", uuid="g0")
    line.run(300)


def test_what_holds_again_within_keep_s_is_one_alert(tmp_path: Path) -> None:
    line = Timeline(tmp_path, rules=[rule("DeviceHot", keep_s=20)])
    for moment in range(0, 200, 20):
        line.at(moment).fire("DeviceHot", uuid="g0")
        line.at(moment + 5).resolve("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.want_between(205, 206, resolved=[HOT])  # 20 s after it held last
    line.run(400)


def test_alerts_of_one_rule_and_site_are_told_together_and_others_apart(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(9).fire("DeviceHot", uuid="g1")
    line.at(9).fire("DeviceHot", uuid="g2", site="b")
    line.want_between(10, 10, firing=[HOT, "DeviceHot g1"])
    line.want_between(19, 19, firing=["DeviceHot g2"])
    line.at(20).fire("DeviceHot", uuid="g3")
    line.at(30).resolve("DeviceHot", uuid="g1")
    line.want_between(70, 70, firing=[HOT, "DeviceHot g3"], resolved=["DeviceHot g1"], reason="new alerts added")
    line.at(100).resolve("DeviceHot", uuid="g3")
    line.want_between(130, 130, firing=[HOT], resolved=["DeviceHot g3"], reason="some alerts resolved")
    line.run(400)
    assert line.told["ops"][0].notification.group_key == '{}:{alertname="DeviceHot", site="a"}'


def test_what_stands_is_told_again_after_the_repeat_interval(tmp_path: Path) -> None:
    line = Timeline(tmp_path, settings=AlertsSettings(receivers=(receiver(),), repeat_interval_s=300.0))
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.want_between(310, 310, firing=[HOT], reason="repeat interval elapsed")
    line.want_between(610, 610, firing=[HOT], reason="repeat interval elapsed")
    line.run(900, every=10)
    assert len({told.notification.id for told in line.told["ops"]}) == 3


def test_each_receiver_is_told_what_its_matchers_match(tmp_path: Path) -> None:
    settings = AlertsSettings(receivers=(receiver(), receiver("nodes", ('alertname=~"Node.*"',))))
    line = Timeline(tmp_path, settings=settings)
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(0).fire("NodeLost", node="n1")
    line.want_between(10, 10, firing=[HOT])
    line.want_between(10, 10, firing=["NodeLost n1"])
    line.want_between(10, 10, "nodes", firing=["NodeLost n1"])
    line.run(60)
    key = line.told["nodes"][0].notification.group_key
    assert key == '{}/{alertname=~"Node.*"}:{alertname="NodeLost", site="a"}'


def test_a_lost_node_silences_its_devices_and_no_others(tmp_path: Path) -> None:
    inhibition = Inhibition(('alertname="NodeLost"',), ('alertname=~"Device.*"',), ("node",), "rules.toml:9")
    line = Timeline(tmp_path, inhibitions=[inhibition])
    line.at(0).fire("NodeLost", node="n1")
    line.at(0).fire("DeviceHot", node="n1", uuid="g0")
    line.at(0).fire("DeviceHot", node="n2", uuid="g1")
    line.want_between(10, 10, firing=["NodeLost n1"])
    line.want_between(10, 10, firing=["DeviceHot n2 g1"])
    line.at(100).resolve("NodeLost", node="n1")
    line.want_between(100, 100, resolved=["NodeLost n1"])
    line.want_between(100, 100, firing=["DeviceHot n1 g0", "DeviceHot n2 g1"], reason="new alerts added")
    line.run(200)


def test_a_silence_outlives_a_restart_and_what_still_fires_is_told_at_its_end(line: Timeline) -> None:
    line.at(0).silence('uuid="g0"', for_s=300)
    line.at(10).fire("DeviceHot", uuid="g0")
    line.at(100).kill()
    line.want_between(310, 311, firing=[HOT], reason="first notification")  # its group waits as any new one
    line.run(400)


def test_what_was_told_is_never_resolved_because_of_a_silence(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(0).fire("DeviceHot", uuid="g1")
    line.want_between(10, 10, firing=[HOT, "DeviceHot g1"])
    line.at(20).silence('uuid="g0"', for_s=200)
    line.at(30).fire("DeviceHot", uuid="g2")
    line.want_between(70, 70, firing=["DeviceHot g1", "DeviceHot g2"], reason="new alerts added")
    line.run(1000, every=10)  # and it is no news when the silence ends


def test_what_was_resolved_under_a_silence_is_told_when_it_ends(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.at(20).silence('uuid="g0"', for_s=200)
    line.at(100).resolve("DeviceHot", uuid="g0")
    line.want_between(220, 220, resolved=[HOT])
    line.run(2000, every=10)


def test_what_is_silenced_to_its_end_is_forgotten_in_silence(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.at(20).silence('uuid="g0"', for_s=2000)
    line.at(100).resolve("DeviceHot", uuid="g0")
    line.run(1100, every=10)
    assert not line.alerting.alerts


def test_the_end_of_what_was_told_before_a_restart_is_told_after_it(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.at(50).kill()
    line.at(50).resolve("DeviceHot", uuid="g0")
    line.want_between(70, 71, resolved=[HOT])  # a kill sets the clock back to the last tick
    line.run(200)


def test_what_flaps_every_second_is_told_once_per_group_interval_at_most(line: Timeline) -> None:
    for moment in range(0, 600, 2):
        line.at(moment).fire("DeviceHot", uuid="g0")
        line.at(moment + 1).resolve("DeviceHot", uuid="g0")
    with pytest.raises(AssertionError, match="not wanted"):
        line.run(700)
    moments = [told.at for told in line.told["ops"]]
    assert len(moments) <= 11
    assert all(later - earlier >= 60 for earlier, later in pairwise(moments))
    assert line.told["ops"][-1].resolved == [HOT]


def test_what_is_over_before_its_group_has_waited_is_not_told(line: Timeline) -> None:
    line.at(1).fire("DeviceHot", uuid="g0")
    line.at(10).resolve("DeviceHot", uuid="g0")
    line.run(100)


def test_ten_thousand_alerts_at_once_are_few_notifications_that_count_them_all(line: Timeline) -> None:
    for number in range(10_000):
        line.at(0).fire("DeviceHot", uuid=f"g{number}", site=f"s{number % 2}")
    line.at(30).do(lambda: line._held.clear())
    with pytest.raises(AssertionError, match="not wanted"):
        line.run(90, every=10)
    counts = [(len(told.notification.alerts), told.notification.truncated) for told in line.told["ops"]]
    assert counts == [(200, 4800)] * 4
    assert [told.notification.firing for told in line.told["ops"]] == [True, True, False, False]


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_changes_nothing_but_the_times_that_people_read(
    tmp_path: Path, seconds: float
) -> None:
    stories = []
    for moment in (15, 10_000):
        folder = tmp_path / str(moment)
        folder.mkdir()
        line = Timeline(folder, rules=[rule("DeviceHot", for_s=30, keep_s=20), rule("NodeLost")])
        line.at(0).fire("DeviceHot", uuid="g0")
        line.at(0).fire("NodeLost", node="n1")
        line.at(moment).step_the_wall_clock(seconds)
        line.at(200).resolve("DeviceHot", uuid="g0")
        line.at(200).resolve("NodeLost", node="n1")
        with pytest.raises(AssertionError, match="not wanted"):
            line.run(400, every=5)
        stories.append(line.story())
        for told in line.told["ops"]:
            for alert in told.notification.alerts:
                assert alert.resolved_at is None or alert.fired_at is None or alert.resolved_at >= alert.fired_at
    assert stories[0] == stories[1]
    assert len(stories[0]) == 4


def test_a_pending_alert_that_becomes_unknown_begins_anew(tmp_path: Path) -> None:
    line = Timeline(tmp_path, rules=[rule("DeviceHot", for_s=30)])
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(20).unknown("DeviceHot", uuid="g0")
    line.at(100).fire("DeviceHot", uuid="g0")
    line.want_between(140, 140, firing=[HOT])
    line.run(200)


def test_a_firing_alert_that_becomes_unknown_stays_and_says_so(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.at(20).unknown("DeviceHot", uuid="g0")
    line.run(2000, every=10)
    (alert,) = line.alerting.alerts
    assert (alert.state, alert.known) == ("firing", False)


def test_alerts_of_a_rule_that_is_not_evaluated_stay_as_they_are(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(20).skip("DeviceHot")
    line.at(20).resolve("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.run(1000, every=10)


def test_alerts_of_a_rule_that_was_removed_are_resolved(line: Timeline) -> None:
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(20).do(lambda: setattr(line, "rules", [rule("NodeLost")]))
    line.at(20).kill()
    line.want_between(10, 10, firing=[HOT])
    line.want_between(70, 71, resolved=[HOT])
    line.run(100)


def test_a_receiver_that_was_down_for_an_hour_is_told_the_present_once(line: Timeline) -> None:
    line.at(0).down()
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(100).fire("DeviceHot", uuid="g1")
    for moment in range(200, 3600, 100):
        line.at(moment).fire("DeviceHot", uuid="g2")
        line.at(moment + 50).resolve("DeviceHot", uuid="g2")
    line.at(3000).resolve("DeviceHot", uuid="g0")
    line.at(3600).up()
    line.want_between(
        3600, 3610, firing=["DeviceHot g1"], resolved=[HOT, "DeviceHot g2"], reason="first notification"
    )
    line.run(3800, every=5)


@pytest.mark.parametrize("send_resolved", [True, False])
def test_what_fired_and_ended_while_a_receiver_was_down_is_not_lost(tmp_path: Path, send_resolved: bool) -> None:
    line = Timeline(tmp_path, settings=AlertsSettings(receivers=(receiver(send_resolved=send_resolved),)))
    line.at(0).down()
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(100).resolve("DeviceHot", uuid="g0")
    line.at(500).kill()
    line.at(3600).up()
    line.want_between(3600, 3610, resolved=[HOT])
    line.run(3800, every=5)
    (told,) = line.told["ops"]
    (alert,) = told.notification.alerts
    assert (alert.fired_at, alert.resolved_at) == (WALL, WALL + 100)


def test_a_receiver_that_wants_no_resolves_is_told_when_it_fires_again(tmp_path: Path) -> None:
    line = Timeline(tmp_path, settings=AlertsSettings(receivers=(receiver(send_resolved=False),)))
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.at(50).resolve("DeviceHot", uuid="g0")
    line.at(200).fire("DeviceHot", uuid="g0")
    line.want_between(210, 210, firing=[HOT])
    line.run(300)


def test_what_is_silenced_while_it_waits_is_taken_back(line: Timeline) -> None:
    line.at(0).down()
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(0).fire("DeviceHot", uuid="g1")
    line.at(50).silence('uuid="g0"', for_s=1000)
    line.at(100).up()
    line.want_between(100, 110, firing=["DeviceHot g1"], reason="first notification")
    line.run(200)


def test_a_repeat_after_a_kill_between_sending_and_noting_has_the_same_id(line: Timeline) -> None:
    line.unlogged.add("ops")
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=[HOT])
    line.want_between(10, 10, firing=[HOT])
    line.run(100)
    first, second = (told.notification for told in line.told["ops"])
    assert first == second


def test_a_receiver_that_was_removed_is_told_nothing_more(line: Timeline) -> None:
    line.at(0).down()
    line.at(0).fire("DeviceHot", uuid="g0")
    settings = replace_receivers(line.settings, "pager")
    line.at(50).do(lambda: setattr(line, "settings", settings))
    line.at(50).kill()
    line.want_between(60, 60, "pager", firing=[HOT])
    line.run(100)


def replace_receivers(settings: AlertsSettings, *names: str) -> AlertsSettings:
    return msgspec.structs.replace(settings, receivers=tuple(receiver(name) for name in names))
