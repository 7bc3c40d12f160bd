import httpx
import msgspec
import pytest

from fallow_collector.api.query import PHASES
from fallow_proto import api
from tests.collector.api.memory import MemoryAnswers

HOST = "CPU-gpu-01"
BUSY = "GPU-60c0ffee-1111-2222-3333-444444444446"
UNREAD = "GPU-70c0ffee-1111-2222-3333-444444444447"
GONE = "GPU-dead0000-1111-2222-3333-444444444448"


def uuids(http: httpx.Client, **params: object) -> list[str]:
    return [item["uuid"] for item in http.get("/api/v1/devices", params=params).raise_for_status().json()["items"]]


def test_capacity_keeps_its_identities_and_spells_class(http: httpx.Client) -> None:
    answer = http.get("/api/v1/capacity").json()
    assert (answer["epoch"], answer["revision"], answer["complete"]) == ("b7c1", 42, False)
    for group in answer["groups"]:
        assert group["declared"] + group["undeclared"] == group["seen"] + group["absent"]
    assert {group["class"] for group in answer["groups"]} == {"intelligent", "general"}


def test_capacity_shows_flops_at_the_precisions_asked_for(http: httpx.Client) -> None:
    shown = http.get("/api/v1/capacity", params={"vendor": "nvidia"}).json()
    [group] = shown["groups"]
    assert (shown["density"], group["domestic"]) == ("dense", False)
    assert group["idle_flops"] == {
        "fp16": {"flops": 6 * 989e12, "unknown": 0}, "fp32": {"flops": 6 * 67e12, "unknown": 0},
    }
    [group] = http.get("/api/v1/capacity", params={"vendor": "nvidia", "precision": "fp8,int8"}).json()["groups"]
    assert set(group["idle_flops"]) == {"fp8", "int8"}


def test_totals_are_by_class_and_what_was_asked_for(http: httpx.Client) -> None:
    answer = http.get("/api/v1/totals", params={"by": "site", "precision": "fp32"}).json()
    assert (answer["by"], answer["precision"], answer["density"]) == (["class", "site"], "fp32", "dense")
    assert [(row["class"], row["site"]) for row in answer["totals"]] == [("general", "south"), ("intelligent", "north")]
    assert "vendor" not in answer["totals"][0]
    assert answer["totals"][0]["idle_flops"] == {"flops": None, "unknown": 1}


@pytest.mark.parametrize(("path", "message"), [
    ("/api/v1/totals?by=rack", "by=rack: there is no rack; expected one of site, class, vendor, model, domestic"),
    ("/api/v1/totals?precision=fp4", "precision=fp4: there is no fp4"),
    ("/api/v1/totals?precision=fp16,fp32", "precision=fp16,fp32: there is no fp16,fp32"),
    ("/api/v1/capacity?precision=half", "precision=half: there is no half"),
])
def test_a_sum_that_there_is_not_says_which_there_are(http: httpx.Client, path: str, message: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 400
    assert message in answer.json()["detail"]


def test_what_is_not_known_is_null(http: httpx.Client) -> None:
    device = http.get(f"/api/v1/devices/{UNREAD}").json()["device"]
    assert device["power_watts"] is None
    assert device["utilization_ratio"] is None
    assert device["memory_limit_bytes"] == 80 * 2**30


@pytest.mark.parametrize(("params", "count"), [
    ({}, 14),
    ({"class": "general"}, 1),
    ({"vendor": "huawei"}, 4),
    ({"vendor": "huawei,intel"}, 5),
    ({"vendor": ["huawei", "intel"]}, 5),
    ({"phase": "idle", "vendor": "nvidia"}, 6),
    ({"site": "north", "node": "gpu-02"}, 1),
    ({"model": "Ascend 910B3"}, 4),
    ({"site": "nowhere"}, 0),
    ({"phase": ",".join(PHASES)}, 14),
])
def test_devices_are_filtered(http: httpx.Client, params: dict[str, object], count: int) -> None:
    assert len(uuids(http, **params)) == count


def test_pages_follow_each_other_without_gap_or_overlap(http: httpx.Client) -> None:
    found, cursor = [], {}
    while True:
        page = http.get("/api/v1/devices", params={"limit": 4, **cursor}).json()
        found += [item["uuid"] for item in page["items"]]
        assert len(page["items"]) <= 4
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == uuids(http)


def test_nodes_are_listed_with_their_readers(http: httpx.Client) -> None:
    page = http.get("/api/v1/nodes", params={"node": "gpu-01,npu-01", "limit": 1}).json()
    assert [item["node"] for item in page["items"]] == [page["next"]] == ["gpu-01"]
    assert page["items"][0]["readers"][0]["state"] == "stuck"


def test_a_device_explains_itself(http: httpx.Client) -> None:
    answer = http.get(f"/api/v1/devices/{UNREAD}/explain").json()
    assert [one["holds"] for one in answer["predicates"]] == [False, None, True]


def test_history_reads_times_columns_and_steps(http: httpx.Client, answers: MemoryAnswers) -> None:
    answer = http.get("/api/v1/history", params={
        "uuid": HOST, "columns": ["power_watts,processes", "energy_joules_total"],
        "start": "2026-03-01T12:00:00Z", "end": "1772370000", "step": "1m",
    }).json()
    assert answer["columns"] == ["time", "power_watts", "processes", "energy_joules_total"]
    assert answer["rows"][1] == [1772366460.0, None, None, None]
    assert answers.asked[0] == (HOST, tuple(answer["columns"][1:]), 1772366400.0, 1772370000.0, 60.0)


def test_history_asks_for_the_last_hour_as_it_came_unless_told(http: httpx.Client, answers: MemoryAnswers) -> None:
    http.get("/api/v1/history", params={"uuid": HOST, "columns": "power_watts"}).raise_for_status()
    asked = answers.asked[0]
    assert (asked.end - asked.start, asked.step) == (3600.0, 0.0)


def test_a_store_that_is_down_is_503_and_everything_else_goes_on(http: httpx.Client, answers: MemoryAnswers) -> None:
    answers.store_down = "the store cannot be asked: disk full; free some space"
    refused = http.get("/api/v1/history", params={"uuid": HOST, "columns": "power_watts"})
    assert (refused.status_code, refused.json()["detail"]) == (503, answers.store_down)
    assert http.get("/api/v1/capacity").status_code == 200


def test_devices_are_declared_retired_and_their_baseline_accepted(http: httpx.Client) -> None:
    body = {"devices": [{"uuid": "NEW-1", "node": "gpu-09"}, {"uuid": BUSY, "class": "intelligent"}]}
    assert http.post("/api/v1/inventory", json=body).json() == {"declared": 1, "already": 1}
    assert "NEW-1" in uuids(http, phase="absent")
    gone = http.delete("/api/v1/inventory/NEW-1")
    assert (gone.status_code, gone.content) == (204, b"")
    accepted = http.post(f"/api/v1/devices/{HOST}/baseline/accept")
    assert accepted.status_code == 409  # it shows no power
    assert http.post(f"/api/v1/devices/{BUSY}/baseline/accept").json()["floor_source"] == "accepted"


@pytest.mark.parametrize(("method", "path", "status", "detail"), [
    ("GET", "/api/v1/devices?phase=idel", 400, "did you mean idle?"),
    ("GET", "/api/v1/devices?phse=idle", 400, "no parameter phse; did you mean phase"),
    ("GET", "/api/v1/capacity?phase=idle", 400, "no parameter phase"),
    ("GET", "/api/v1/capacity?class=Intelligent", 400, "did you mean intelligent?"),
    ("GET", "/api/v1/devices?limit=0", 400, "limit=0: Expected `int` >= 1"),
    ("GET", "/api/v1/devices?limit=10001", 400, "limit=10001: Expected `int` <= 10000"),
    ("GET", "/api/v1/devices?limit=many", 400, "limit=many: Expected `int`"),
    ("GET", f"/api/v1/devices?cursor={'x' * 513}", 400, "length <= 512"),
    ("GET", "/api/v1/history", 400, "'uuid'"),
    ("GET", f"/api/v1/history?uuid={HOST}", 400, "columns is empty"),
    ("GET", f"/api/v1/history?uuid={HOST}&columns=powr", 400, "did you mean power_watts"),
    ("GET", f"/api/v1/history?uuid={HOST}&columns=processes&start=soon", 400, "start=soon: expected unix seconds"),
    ("GET", f"/api/v1/history?uuid={HOST}&columns=processes&start=-1w&step=1", 400, "at least 6.05 s"),
    ("GET", "/api/v1/history?uuid=none&columns=processes", 404, "there is no device none"),
    ("GET", "/api/v1/devices/none", 404, "there is no device none"),
    ("GET", "/api/v1/devices/none/explain", 404, "there is no device none"),
    ("GET", "/api/v1/nowhere", 404, "there is no route /api/v1/nowhere; /openapi.json"),
    ("GET", "/", 404, "there is no route /;"),
    ("PUT", "/api/v1/inventory", 405, "PUT is not possible on /api/v1/inventory"),
    ("DELETE", f"/api/v1/inventory/{BUSY}", 409, "only an absent one can be retired"),
    ("DELETE", f"/api/v1/inventory/{GONE}?force=1", 400, "no parameter force; none is expected here"),
    ("POST", "/api/v1/devices/none/baseline/accept", 404, "there is no device none"),
])
def test_bad_questions_get_a_problem_that_says_what_would_be_right(
    http: httpx.Client, method: str, path: str, status: int, detail: str
) -> None:
    answer = http.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(answer.content, type=api.Problem)
    assert (answer.status_code, problem.status) == (status, status)
    assert detail in problem.detail


@pytest.mark.parametrize(("body", "detail"), [
    (b"", "the body is empty"),
    (b"{", "the body cannot be read"),
    (b"\xff", "the body cannot be read"),
    (b"[]", "Expected `object`, got `array`"),
    (b"{}", "missing required field `devices`"),
    (b'{"devices": []}', "devices is empty"),
    (b'{"devices": [{}]}', "devices[0]: Object missing required field `uuid`"),
    (b'{"devices": [{"uuid": 3}]}', "devices[0].uuid: Expected `str`, got `int`"),
    (b'{"devices": [{"uuid": ""}]}', "1 to 256 printable characters"),
    (b'{"devices": [{"uuid": "a\\u0000"}]}', "1 to 256 printable characters"),
    (b'{"devices": [{"uuid": "a/b"}]}', "without /"),
    (b'{"devices": [{"uuid": "a"}, {"uuid": "a"}]}', "is there twice"),
    (b'{"devices": [{"uuid": "a", "modle": "x"}]}', "unknown field `modle`"),
    (b'{"devices": [{"uuid": "a", "class": "gpu"}]}', "class=gpu: there is no gpu"),
    (b'{"devices": ' + b"[" * 5000, "the body cannot be read"),
])
def test_a_bad_declaration_changes_nothing_and_says_where_it_is_wrong(
    http: httpx.Client, body: bytes, detail: str
) -> None:
    before = uuids(http)
    answer = http.post("/api/v1/inventory", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert uuids(http) == before


def test_a_body_of_any_size_is_not_taken(http: httpx.Client) -> None:
    answer = http.post("/api/v1/inventory", content=b" " * (33 * 2**20))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_defect_is_a_500_that_tells_no_secrets_and_the_next_question_is_answered(
    http: httpx.Client, answers: MemoryAnswers
) -> None:
    answers.members.append(None)  # type: ignore[arg-type]
    failed = http.get("/api/v1/capacity")
    assert (failed.status_code, failed.json()["detail"]) == (500, "the collector failed to answer; its log says why")
    answers.members.pop()
    assert http.get("/api/v1/capacity").status_code == 200


def test_readiness_names_every_reason(http: httpx.Client, answers: MemoryAnswers) -> None:
    assert http.get("/readyz").text == "ready\n"
    answers.not_ready = ["store: disk full", "no state"]
    ready = http.get("/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (503, "store: disk full; no state")
    assert http.get("/healthz").text == "ok\n"
