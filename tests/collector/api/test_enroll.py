"""Enrolment over the real HTTP: who may ask, how often, and what stays secret."""

import time
from pathlib import Path

import httpx
import pytest

from fallow_agent.enrolment.request import new_request
from fallow_collector.api.enroll import Office
from fallow_collector.certs import cli as certs
from fallow_collector.certs.authority import Authority
from fallow_collector.pace import BURST, KNOCKERS, Pace
from fallow_proto.enrolment import PATH
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served
from tests.collector.program import PATIENCE_S, Program, running

NOW = 1_800_000_000.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path, 3600.0)
    made.init(NOW)
    return made


def ask(url: str, token: str, csr: str = "", node: str = "n1") -> httpx.Response:
    body = {"token": token, "node": node, "csr": csr}
    return httpx.post(f"{url}{PATH}", json=body, trust_env=False, timeout=30.0)


def test_where_no_authority_is_that_is_said() -> None:
    with served(MemoryAnswers(), enrolment=Office(lambda: None)) as url:
        for answer in (ask(url, "x"), httpx.get(f"{url}{PATH}", trust_env=False)):
            assert answer.status_code == 404
            assert "`fallow-collector certs init` makes one" in answer.json()["detail"]


def test_an_authority_that_is_made_beside_a_running_collector_enrols_without_a_restart(tmp_path: Path) -> None:
    with running(Program(tmp_path / "collector")) as program:
        assert program.get(PATH).status_code == 404
        assert certs.main(["--dir", str(tmp_path / "collector" / "state"), "init"]) == 0
        deadline = time.monotonic() + PATIENCE_S
        while program.get(PATH).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert program.get(PATH).json()["ca"].startswith("-----BEGIN CERTIFICATE-----")


def test_who_asks_too_often_is_told_to_wait_and_why_is_logged_without_the_secret(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with served(MemoryAnswers(), enrolment=Office(lambda: authority)) as url:
        answers = [ask(url, "fallow_join_secret", new_request().pem.decode()) for _ in range(int(BURST) + 3)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[0] == 403
    assert "this join token is not known here" in answers[0].json()["detail"]
    assert 429 in statuses
    assert answers[statuses.index(429)].headers["retry-after"] == "1"
    assert "enrolment refused address=127.0.0.1 node='n1'" in caplog.text
    assert "fallow_join_secret" not in caplog.text


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"token": 1, "node": "n", "csr": ""}', b"\xff"])
def test_what_is_no_request_is_refused(authority: Authority, body: bytes) -> None:
    with served(MemoryAnswers(), enrolment=Office(lambda: authority)) as url:
        answer = httpx.post(
            f"{url}{PATH}", content=body, headers={"content-type": "application/json"}, trust_env=False, timeout=30.0
        )
    assert answer.status_code == 400


def test_each_address_has_a_few_at_once_and_then_one_a_second() -> None:
    pace = Pace()
    assert [pace.admits("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert pace.admits("b", 0.0)
    assert [pace.admits("a", 1.0) for _ in range(2)] == [True, False]
    assert [pace.admits("a", 100.0) for _ in range(6)] == [True] * 5 + [False]


def test_so_many_addresses_are_remembered_and_no_more() -> None:
    pace = Pace()
    assert all(pace.admits(str(number), 0.0) for number in range(KNOCKERS))
    assert not pace.admits("one more", 0.0)
    assert pace.admits("one more", 10.0)
