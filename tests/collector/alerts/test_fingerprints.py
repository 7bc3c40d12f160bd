"""Fingerprints of many alerts at once are those of each alone."""

from hypothesis import given
from hypothesis import strategies as st

from fallow_collector.alerts.alert import fingerprint
from fallow_collector.alerts.fingerprints import fingerprints

NAMES = st.sampled_from(["alertname", "class", "node", "site", "uuid"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(NAMES, TEXTS), st.dictionaries(NAMES, st.lists(TEXTS, min_size=4, max_size=4)))
def test_each_is_that_of_its_labels_without_the_empty_ones(same: dict[str, str], rows: dict[str, list[str]]) -> None:
    wanted = []
    for number in range(4):
        labels = same | {name: texts[number] for name, texts in rows.items()}
        wanted.append(fingerprint({name: text for name, text in labels.items() if text}))
    assert fingerprints(4, same | rows) == wanted


def test_those_of_alertmanager() -> None:
    assert fingerprints(3, {"job": ["foo", "foo", "bar"], "severity": ["warning", "critical", "critical"]}) == [
        "9266ef3da838ad95", "3b15fd163d36582e", "c7e68cb08e3e67f9",
    ]
    assert fingerprints(0, {"job": []}) == []
