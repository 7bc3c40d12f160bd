from typing import Any

import httpx
import pytest

from fallow_collector.api.parameters import MAX_LIMIT
from tests.collector.api.schema import faults

HOST = "CPU-gpu-01"
BUSY = "GPU-60c0ffee-1111-2222-3333-444444444446"
GONE = "GPU-dead0000-1111-2222-3333-444444444448"
DECLARATION = {"devices": [{"uuid": "NEW", "class": "super"}]}


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


@pytest.mark.parametrize(("method", "template", "path", "body", "status"), [
    ("get", "/api/v1/capacity", "/api/v1/capacity", None, 200),
    ("get", "/api/v1/capacity", "/api/v1/capacity?class=x", None, 400),
    ("get", "/api/v1/devices", "/api/v1/devices", None, 200),
    ("get", "/api/v1/devices", "/api/v1/devices?limit=2", None, 200),
    ("get", "/api/v1/devices/{uuid}", f"/api/v1/devices/{BUSY}", None, 200),
    ("get", "/api/v1/devices/{uuid}", "/api/v1/devices/none", None, 404),
    ("get", "/api/v1/devices/{uuid}/explain", f"/api/v1/devices/{GONE}/explain", None, 200),
    ("get", "/api/v1/devices/{uuid}/timeline", f"/api/v1/devices/{BUSY}/timeline?start=-1h&limit=1", None, 200),
    ("get", "/api/v1/devices/{uuid}/timeline", f"/api/v1/devices/{BUSY}/timeline?start=now", None, 400),
    ("get", "/api/v1/nodes", "/api/v1/nodes", None, 200),
    ("get", "/api/v1/history", f"/api/v1/history?uuid={BUSY}&columns=power_watts", None, 200),
    ("get", "/api/v1/history", f"/api/v1/history?uuid={BUSY}&columns=x", None, 400),
    ("post", "/api/v1/inventory", "/api/v1/inventory", DECLARATION, 200),
    ("post", "/api/v1/inventory", "/api/v1/inventory", {}, 400),
    ("delete", "/api/v1/inventory/{uuid}", f"/api/v1/inventory/{BUSY}", None, 409),
    ("post", "/api/v1/devices/{uuid}/baseline/accept", f"/api/v1/devices/{BUSY}/baseline/accept", None, 200),
    ("post", "/api/v1/devices/{uuid}/baseline/accept", f"/api/v1/devices/{HOST}/baseline/accept", None, 409),
])
def test_answers_are_what_the_document_says(
    http: httpx.Client, document: dict[str, Any], method: str, template: str, path: str, body: object, status: int
) -> None:
    answer = http.request(method, path, json=body)
    assert answer.status_code == status
    documented = document["paths"][template][method]["responses"][str(status)]["content"]
    schema = documented[answer.headers["content-type"]]["schema"]
    assert faults(answer.json(), schema, document) == []


def test_the_test_sees_a_lie(http: httpx.Client, document: dict[str, Any]) -> None:
    answer = http.get("/api/v1/capacity").json()
    answer["revision"] = "42"
    answer["groups"][0]["clas"] = answer["groups"][0].pop("class")
    schema = {"$ref": "#/components/schemas/Capacity"}
    assert faults(answer, schema, document) == [
        "$.revision: expected integer, found '42'",
        "$.groups[0]: lacks class",
        "$.groups[0]: clas is not documented",
    ]


def test_every_parameter_is_documented_and_no_other_is_taken(http: httpx.Client, document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            parameters = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
            assert all(one["description"] for one in parameters)
            refused = http.request("get" if "get" in item else "post", path, params={"surely_not": "1"})
            if "get" in item:
                assert refused.status_code == 400, path
    devices = {one["name"]: one for one in document["paths"]["/api/v1/devices"]["get"]["parameters"]}
    assert set(devices) == {"site", "node", "class", "vendor", "model", "phase", "limit", "cursor"}
    assert devices["limit"]["schema"]["maximum"] == MAX_LIMIT
    assert not devices["class"]["required"]


def test_every_route_names_itself_and_says_what_it_does(document: dict[str, Any]) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 15
    assert all(operation["summary"] and operation["description"] for operation in operations)
    assert document["openapi"].startswith("3.1")
