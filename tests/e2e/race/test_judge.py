"""The judge of the race finds what it is there to find."""

import json
from typing import Any

from tests.e2e.race.judge import judge


def own(lease: str, token: int, at: float, until: float) -> dict[str, Any]:
    return {"what": "own", "at": at, "lease": lease, "token": token, "until": until, "devices": ["g0"]}


def faults(*entries: dict[str, Any]) -> list[str]:
    return judge(json.dumps(entry) for entry in entries).faults


def test_leases_one_after_the_other_are_fine() -> None:
    assert faults(own("a", 1, 0, 5), {"what": "release", "at": 2, "lease": "a"}, own("b", 2, 2.1, 7)) == []


def test_a_device_owned_twice_is_found() -> None:
    assert len(faults(own("a", 1, 0, 5), own("b", 2, 4, 9))) == 1


def test_a_renewed_lease_lasts_longer() -> None:
    assert faults(own("a", 1, 0, 5), own("b", 2, 6, 9)) == []
    assert len(faults(own("a", 1, 0, 5), own("a", 1, 4, 9), own("b", 2, 6, 9))) == 1


def test_tokens_that_do_not_rise_are_found() -> None:
    assert faults(own("a", 2, 0, 5), own("b", 2, 6, 9)) == ["g0: token 2 came after 2"]
    assert faults(own("a", 1, 0, 5), own("a", 3, 1, 6)) == ["lease a had token 1 and then 3"]


def test_one_key_with_two_leases_is_found() -> None:
    assert len(faults({"what": "same", "lease": "a", "also": "b"})) == 1


def test_an_answer_that_came_after_its_time_gave_nothing() -> None:
    assert faults(own("b", 2, 6, 9), own("a", 1, 7, 5)) == []
