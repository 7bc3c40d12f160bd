"""Alertmanager's matchers."""

import pytest

from fallow_collector.alerts.inhibit import Inhibitor
from fallow_collector.alerts.matchers import MatcherError, Operator, matching, parse, parse_all
from fallow_collector.alerts.rule import Inhibition
from fallow_collector.alerts.settings import ReceiverSettings

LABELS = {
    "a": {"alertname": "NodeLost", "node": "n1"},
    "b": {"alertname": "DeviceHot", "node": "n1", "uuid": "g0"},
    "c": {"alertname": "DeviceHot", "node": "n12", "uuid": 'g"1\nx'},
}


@pytest.mark.parametrize(("texts", "expected"), [
    (['node="n1"'], "ab"),
    (["node=n1"], "ab"),
    ([' node = "n1" '], "ab"),
    (['node!="n1"'], "c"),
    (['alertname=~"Device.*"'], "bc"),
    (['alertname=~"Device"'], ""),  # the whole value
    (['node!~"n1"'], "c"),
    (['node=~"n1|n2"'], "ab"),
    (['uuid=""'], "a"),  # a label that is not there
    (["uuid="], "a"),
    (['uuid!=""'], "bc"),
    (['uuid=~".*"'], "abc"),
    (['uuid=~".+"'], "bc"),
    (['uuid="g\\"1\\nx"'], "c"),
    (['alertname="DeviceHot"', 'node="n1"'], "b"),
    ([], "abc"),
])
def test_a_matcher_selects_as_alertmanager_does(texts: list[str], expected: str) -> None:
    assert "".join(matching(parse_all(texts), LABELS)) == expected


@pytest.mark.parametrize(("text", "said"), [
    ("node", "expected a label, one of = != =~ !~, and a value"),
    ('1node="x"', "expected a label"),
    ('node="x', "the quotes of its value do not close"),
    ('node="x"y"', "the quotes of its value do not close"),
    ('node="\\x"', "\\x is no escape"),
    ("node=a b", "its value needs quotes"),
    ("node='a'", "its value needs quotes"),
    ('node=~"("', "expected a regular expression of RE2"),
    ('node=~"a)(b"', "expected a regular expression of RE2"),
    ('node=~"(?=a)"', "expected a regular expression of RE2"),
    (f'node="{"x" * 2000}"', "has 2007 characters, expected at most 1024"),
])
def test_what_is_no_matcher_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(MatcherError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("text", ['node="a\\"b\\\\c\\n"', "node=", 'node!~"a|b"'])
def test_a_matcher_that_is_printed_is_the_same_when_parsed(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


def test_a_pattern_that_would_stop_python_takes_no_time() -> None:
    matcher = parse('node=~"(a+)+b"')
    assert matcher.operator is Operator.REGEX
    assert matcher.select(["x"], {"x": {"node": "a" * 5000}}) == []


def test_a_receiver_with_a_bad_matcher_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"receiver 'ops': matcher 'severity' is none"):
        ReceiverSettings(name="ops", type="webhook", url="http://127.0.0.1:1/", matchers=("severity",))


def inhibited(source: str, target: str, firing: str, *equal: str) -> dict[str, str]:
    inhibitor = Inhibitor.of(Inhibition((source,), (target,), equal, "rules.toml:1"))
    inhibitor.update(LABELS)
    return inhibitor.inhibited(set(firing), LABELS)


def test_only_what_fires_inhibits_and_only_where_the_labels_are_equal() -> None:
    assert inhibited("alertname=NodeLost", "alertname=DeviceHot", "abc", "node") == {"b": "a"}
    assert inhibited("alertname=NodeLost", "alertname=DeviceHot", "bc", "node") == {}
    assert inhibited("alertname=NodeLost", "alertname=DeviceHot", "abc") == {"b": "a", "c": "a"}


def test_a_label_that_neither_has_is_equal() -> None:
    assert inhibited("alertname=NodeLost", "alertname=DeviceHot", "abc", "rack") == {"b": "a", "c": "a"}


def test_an_alert_on_both_sides_is_not_inhibited_by_one_on_both_sides() -> None:
    assert inhibited('node=~"n.*"', "alertname=DeviceHot", "bc") == {}
    assert inhibited('node=~"n.*"', "alertname=DeviceHot", "abc") == {"b": "a", "c": "a"}
    assert inhibited('node=~"n.*"', 'node=~"n.*"', "abc") == {}
