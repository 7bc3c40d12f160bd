"""When a certificate is renewed: pure, `now` is an argument."""

from random import Random

import pytest

from fallow_agent.config import Tls
from fallow_agent.enrolment.renewal import due_at, is_short, renews, retry_s, share
from fallow_agent.uplink.certificate import Shown

DAY_S = 86_400.0
WEEK = Shown(0.0, 7 * DAY_S, ("spiffe://fallow/agent/n1",))
ENROLLED = Tls(ca="/ca.pem", cert="/agent.pem", key="/agent.pem")


def test_it_is_due_at_two_thirds_of_its_life_and_not_everywhere_at_once() -> None:
    due = [due_at(WEEK, share(Random(node))) / WEEK.ends for node in range(1000)]
    assert 0.6 <= min(due) < 0.61
    assert 0.72 < max(due) <= 0.734


@pytest.mark.parametrize(("life_s", "pause_s"), [(20.0, 1.0), (DAY_S, 600.0), (3_600.0, 36.0)])
def test_a_renewal_that_failed_is_tried_often_enough_and_not_without_pause(life_s: float, pause_s: float) -> None:
    assert retry_s(Shown(0.0, life_s, ())) == pause_s


def test_it_is_urgent_when_less_than_a_quarter_is_left() -> None:
    assert not is_short(WEEK, 5.2 * DAY_S)
    assert is_short(WEEK, 5.3 * DAY_S)
    assert is_short(WEEK, 8 * DAY_S)


def test_only_what_the_collectors_own_authority_gave_is_renewed() -> None:
    assert renews(ENROLLED, "n1", WEEK)
    assert not renews(ENROLLED, "n2", WEEK)
    assert not renews(Tls(ca="/ca.pem", cert="/agent.pem", key="/agent.key"), "n1", WEEK)
    for ids in ((), ("spiffe://site/agent/n1",), ("spiffe://fallow/agent/n1", "https://n1")):
        assert not renews(ENROLLED, "n1", WEEK._replace(ids=ids))
