"""Alerts and silences over HTTP, on a real server."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from fallow_client.commands.token import mint
from fallow_collector.api.tokens import Role, Tokens
from tests.collector.alerts.desk import Desk
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.schema import faults
from tests.collector.api.served import served

ALERTS, SILENCES = "/api/v1/alerts", "/api/v1/silences"
N1 = {"matchers": ['node="n1"'], "comment": "fans", "for_s": 3600, "created_by": "ann"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def http(desk: Desk) -> Iterator[httpx.Client]:
    with served(MemoryAnswers(), alerts=desk.alerts) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def names(http: httpx.Client, **asked: str) -> list[str]:
    answer = http.get(ALERTS, params=asked)
    assert answer.status_code == 200, answer.text
    return [f"{one['rule']} {one['labels'].get('uuid', one['labels']['node'])}" for one in answer.json()["items"]]


def test_alerts_are_listed_firing_first_and_say_what_keeps_them_from_being_told(http: httpx.Client) -> None:
    page = http.get(ALERTS).json()
    assert [one["state"] for one in page["items"]] == 5 * ["firing"] + ["pending", "resolved"]
    assert (page["complete"], page["next"]) == (True, None)
    lost, hot = page["items"][:2] if page["items"][0]["rule"] == "NodeLost" else page["items"][1::-1]
    assert (hot["labels"]["uuid"], hot["inhibited_by"]) == ("g3", [lost["fingerprint"]])
    assert lost["firing_since"] == "2023-11-14T22:13:23.000Z"
    assert lost["resolved_at"] is None


def test_filters_match_any_of_their_words_and_all_of_them_together(http: httpx.Client) -> None:
    assert names(http, state="pending,resolved") == ["LinkSlow g4", "DeviceHot g5"]
    assert names(http, rule="DeviceHot", node="n1", state="firing") == ["DeviceHot g2", "DeviceHot g1", "DeviceHot g0"]
    assert names(http, uuid="g4") == ["LinkSlow g4"]
    assert names(http, severity="critical") == []
    assert len(names(http, severity="warning")) == 7


def test_pages_hold_every_alert_once(http: httpx.Client) -> None:
    found, cursor = [], ""
    while True:
        page = http.get(ALERTS, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        found += [one["fingerprint"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert found == [one["fingerprint"] for one in http.get(ALERTS).json()["items"]]
    assert len(set(found)) == 7


def test_rules_say_how_many_alerts_they_have_and_receivers_how_telling_them_goes(http: httpx.Client) -> None:
    rules = {one["name"]: one for one in http.get(f"{ALERTS}/rules").json()["items"]}
    assert (rules["DeviceHot"]["firing"], rules["LinkSlow"]["pending"]) == (4, 1)
    assert (rules["DeviceHot"]["where"], rules["DeviceHot"]["problem"]) == ("rules.toml:1", None)
    (ops,) = http.get(f"{ALERTS}/receivers").json()["items"]
    assert (ops["name"], ops["address"], ops["waiting"]) == ("ops", "http://127.0.0.1:9", 2)


def test_what_failed_before_the_start_is_a_problem_before_the_next_attempt(http: httpx.Client) -> None:
    (ops,) = http.get(f"{ALERTS}/receivers").json()["items"]
    assert (ops["waiting"], ops["problem"]) == (2, "connection refused")


def test_a_receiver_that_cannot_be_reached_is_an_answer_and_one_that_is_not_there_an_error(http: httpx.Client) -> None:
    tested = http.post(f"{ALERTS}/test", json={"receiver": "ops"})
    assert tested.status_code == 200
    assert (tested.json()["delivered"], tested.json()["status"]) == (False, None)
    assert tested.json()["message"]
    missing = http.post(f"{ALERTS}/test", json={"receiver": "opps"})
    assert (missing.status_code, missing.json()["code"]) == (404, "receiver_not_found")
    assert missing.json()["detail"] == "there is no receiver 'opps'; expected one of: ops"


def test_a_silence_is_set_shown_on_its_alerts_and_ended(http: httpx.Client, desk: Desk) -> None:
    made = http.post(SILENCES, json=N1).json()
    assert (made["state"], made["created_by"], made["ends_at"]) == ("active", "ann", "2023-11-14T23:13:41.000Z")
    assert http.get(SILENCES).json()["items"] == [made]
    silenced = [one["labels"]["uuid"] for one in http.get(ALERTS).json()["items"] if one["silenced_by"] == [made["id"]]]
    assert sorted(silenced) == ["g0", "g1", "g2", "g4", "g5"]
    ended = http.delete(f"{SILENCES}/{made['id']}")
    assert (ended.status_code, ended.content) == (204, b"")
    assert [one["state"] for one in http.get(SILENCES).json()["items"]] == ["expired"]
    assert not any(one["silenced_by"] for one in http.get(ALERTS).json()["items"])


@pytest.mark.parametrize(("changed", "told"), [
    ({"matchers": []}, "would silence everything"),
    ({"matchers": ["node"]}, "node"),
    ({"matchers": ['node=~"("']}, "node"),
    ({"for_s": -1}, "for_s = -1, expected more than 0"),
    ({"for_s": None}, "expected either for_s or ends_at"),
    ({"for_s": None, "ends_at": "2001-01-01T00:00:00Z"}, "which is past"),
    ({"for_s": None, "ends_at": "tomorrow"}, "expected a time of RFC 3339"),
])
def test_a_bad_silence_is_refused_and_changes_nothing(
    http: httpx.Client, changed: dict[str, object], told: str
) -> None:
    answer = http.post(SILENCES, json={**N1, **changed})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["code"] == "bad_silence"
    assert told in answer.json()["detail"]
    assert http.get(SILENCES).json()["items"] == []


@pytest.mark.parametrize(("path", "told"), [
    (f"{ALERTS}?state=fireing", "did you mean firing"),
    (f"{ALERTS}?severity=bad", "there is no bad"),
    (f"{ALERTS}?cursor=x", "cursor=x: expected `next` of the page before"),
    (f"{ALERTS}?alertname=x", "there is no parameter alertname"),
])
def test_a_question_that_makes_no_sense_is_refused(http: httpx.Client, path: str, told: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 400
    assert told in answer.json()["detail"]


def test_a_silence_that_is_not_there_cannot_be_ended(http: httpx.Client) -> None:
    answer = http.delete(f"{SILENCES}/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "silence_not_found")


def test_a_disk_that_takes_nothing_is_said_and_there_is_no_silence(http: httpx.Client, desk: Desk) -> None:
    desk.line.file._connection.execute("PRAGMA query_only = ON")
    answer = http.post(SILENCES, json=N1)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("nothing was silenced: ")
    assert http.get(SILENCES).json()["items"] == []
    desk.line.file._connection.execute("PRAGMA query_only = OFF")


def test_answers_are_what_the_document_says(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for method, path, answer in (
        ("get", ALERTS, http.get(ALERTS)), ("get", f"{ALERTS}/rules", http.get(f"{ALERTS}/rules")),
        ("get", f"{ALERTS}/receivers", http.get(f"{ALERTS}/receivers")),
        ("post", f"{ALERTS}/test", http.post(f"{ALERTS}/test", json={"receiver": "ops"})),
        ("post", SILENCES, http.post(SILENCES, json=N1)), ("get", SILENCES, http.get(SILENCES)),
    ):
        operation = document["paths"][path][method]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert faults(answer.json(), schema, document) == [], path
        assert operation["summary"]
        assert operation["description"]
        assert all(one["description"] for one in operation.get("parameters", ()))


def test_who_reads_may_ask_and_only_an_admin_may_silence_and_test(desk: Desk, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("".join(
        f'{name} = {{ role = "{role}", sha256 = "{sha256(name.encode()).hexdigest()}" }}\n'
        for name, role in (("ops", "admin"), ("ci", "lease"), ("eye", "read"))
    ))
    tokens.chmod(0o600)
    with served(MemoryAnswers(), Tokens(tokens), alerts=desk.alerts) as url, \
            httpx.Client(base_url=url, trust_env=False) as http:
        def status(name: str, method: str, path: str, body: object = None) -> int:
            return http.request(method, path, json=body, headers={"authorization": f"Bearer {name}"}).status_code

        for path in (ALERTS, f"{ALERTS}/rules", f"{ALERTS}/receivers", SILENCES):
            assert status("eye", "GET", path) == 200
        for name, expected in (("eye", 403), ("ci", 403), ("ops", 200)):
            assert status(name, "POST", f"{ALERTS}/test", {"receiver": "ops"}) == expected
            assert status(name, "POST", SILENCES, N1) == expected
        (made,) = http.get(SILENCES, headers={"authorization": "Bearer eye"}).json()["items"]
        assert made["created_by"] == "ops/ann"
        assert status("ci", "DELETE", f"{SILENCES}/{made['id']}") == 403
        assert status("ops", "DELETE", f"{SILENCES}/{made['id']}") == 204


@dataclass(frozen=True, slots=True)
class Askers:
    """Clients of one collector: who is of site a, of site b, and of all."""

    a: httpx.Client
    b: httpx.Client
    everywhere: httpx.Client


@pytest.fixture
def askers(desk: Desk, tmp_path: Path) -> Iterator[Askers]:
    desk.line.at(21).fire("DeviceHot", node="north", uuid="n0", site="b")
    asyncio.run(desk.line.play(22))
    minted = mint("ops_a", Role.ADMIN, ["a"]), mint("ops_b", Role.ADMIN, ["b"]), mint("ops", Role.ADMIN)
    tokens = tmp_path / "tokens.toml"
    tokens.touch(0o600)
    tokens.write_text("\n".join(one.line for one in minted))
    with served(MemoryAnswers(), Tokens(tokens), alerts=desk.alerts) as url, contextlib.ExitStack() as open_:
        yield Askers(*(
            open_.enter_context(httpx.Client(
                base_url=url, trust_env=False, headers={"authorization": f"Bearer {one.secret}"}
            )) for one in minted
        ))


def test_a_token_of_a_site_sees_the_alerts_of_that_site_only(askers: Askers) -> None:
    assert {one["labels"]["site"] for one in askers.a.get(ALERTS).json()["items"]} == {"a"}
    assert names(askers.b) == ["DeviceHot n0"]
    assert names(askers.b, node="n1") == []
    assert len(names(askers.everywhere)) == len(names(askers.a)) + 1
    for path in ("rules", "receivers"):
        refused = askers.a.get(f"{ALERTS}/{path}")
        assert (refused.status_code, refused.json()["detail"]) == (
            403, f"token ops_a is for a only; {ALERTS}/{path} is of all sites"
        )


def test_a_token_of_a_site_silences_alerts_of_that_site_only(askers: Askers) -> None:
    for matchers in (N1["matchers"], ['site="b"'], ['site=~"a|b"'], ['site!="b"', 'node="n1"'], []):
        refused = askers.a.post(SILENCES, json={**N1, "matchers": matchers})
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_silence")
        assert 'expected a matcher site="a" beside the others' in refused.json()["detail"]
    made = askers.a.post(SILENCES, json={**N1, "matchers": ["site=a", 'alertname="DeviceHot"']}).json()
    assert (made["created_by"], made["matchers"]) == ("ops_a/ann", ['site="a"', 'alertname="DeviceHot"'])
    assert [one["silenced_by"] for one in askers.b.get(ALERTS).json()["items"]] == [[]]


def test_a_token_of_a_site_neither_sees_nor_ends_silences_of_others(askers: Askers) -> None:
    for matcher in ('site="a"', 'site="b"', 'node="n1"'):
        assert askers.everywhere.post(SILENCES, json={**N1, "matchers": [matcher]}).status_code == 200
    every = {one["matchers"][0]: one["id"] for one in askers.everywhere.get(SILENCES).json()["items"]}
    assert [one["id"] for one in askers.a.get(SILENCES).json()["items"]] == [every['site="a"']]
    for matcher, expected in (('site="b"', 404), ('node="n1"', 404), ('site="a"', 204)):
        assert askers.a.delete(f"{SILENCES}/{every[matcher]}").status_code == expected
    assert sorted(one["state"] for one in askers.everywhere.get(SILENCES).json()["items"]) == [
        "active", "active", "expired",
    ]
