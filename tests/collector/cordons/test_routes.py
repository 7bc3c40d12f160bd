"""Cordons over HTTP, on a real server, with and without tokens."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from fallow_collector.api.tokens import Tokens
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.schema import faults
from tests.collector.api.served import served
from tests.collector.cordons.test_cordons import Site

ROUTE = "/api/v1/cordons"
G0 = {"devices": ["g0"], "owner": "alice", "reason": "fan"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "state")
    yield made
    made.state.close()


@pytest.fixture
def http(site: Site) -> Iterator[httpx.Client]:
    with served(MemoryAnswers(), cordons=site.cordons) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_a_cordon_is_set_shown_and_lifted(http: httpx.Client, site: Site) -> None:
    done = http.post(ROUTE, json={**G0, "for_s": 60})
    assert done.status_code == 200
    (made,) = done.json()["cordons"]
    assert (made["owner"], made["expires_in_s"], done.json()["affected"]) == ("alice", 60.0, ["g0"])
    assert site.phases() == ["cordoned", "idle"]
    assert http.get(ROUTE, params={"device": "g0"}).json()["items"] == [made]
    assert http.get(ROUTE, params={"owner": "bob"}).json()["items"] == []
    lifted = http.delete(f"{ROUTE}/{made['cordon_id']}", params={"owner": "alice"})
    assert (lifted.status_code, lifted.content) == (204, b"")
    assert http.get(ROUTE).json()["items"] == []


def test_answers_are_what_the_document_says(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for method, answer in (("post", http.post(ROUTE, json=G0)), ("get", http.get(ROUTE))):
        content = document["paths"][ROUTE][method]["responses"]["200"]["content"]
        assert faults(answer.json(), content["application/json"]["schema"], document) == []


@pytest.mark.parametrize(("changed", "status", "told"), [
    ({"devices": []}, 400, "devices and nodes are empty"),
    ({"owner": ""}, 400, "owner is empty"),
    ({"for_s": -1}, 400, "for_s=-1: expected seconds"),
    ({"kind": "broken"}, 400, "kind"),
    ({"kind": "maintenance", "start": "tomorrow"}, 400, "start=tomorrow: expected unix seconds, RFC 3339"),
    ({"kind": "maintenance", "end": "2001-01-01T00:00:00Z"}, 400, "expected one that ends in the future"),
    ({"kind": "maintenance", "start": "2100-01-02T00:00:00Z", "end": "2100-01-01T00:00:00Z"}, 400, "expected start <"),
    ({"devices": ["x9"]}, 404, "there is no device x9"),
    ({"nodes": ["n9"]}, 404, "there is no node n9"),
])
def test_a_bad_cordon_changes_nothing_and_says_what_would_be_right(
    http: httpx.Client, site: Site, changed: dict[str, object], status: int, told: str
) -> None:
    answer = http.post(ROUTE, json={**G0, **changed})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert told in answer.json()["detail"]
    assert site.rows() == []


def test_only_the_owner_lifts_a_cordon_and_it_has_to_be_there(http: httpx.Client) -> None:
    (made,) = http.post(ROUTE, json=G0).json()["cordons"]
    for name, owner, status, code in (
        (made["cordon_id"], "bob", 403, "not_owner"), (made["cordon_id"], "", 403, "not_owner"),
        ("none", "alice", 404, "cordon_not_found"),
    ):
        answer = http.delete(f"{ROUTE}/{name}", params={"owner": owner})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(http.get(ROUTE).json()["items"]) == 1


def test_a_state_that_cannot_be_written_is_said_and_nothing_is_changed(http: httpx.Client, site: Site) -> None:
    site.state._connection.execute("PRAGMA query_only = ON")
    answer = http.post(ROUTE, json=G0)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("nothing was changed: the state file cannot be written")
    assert http.get(ROUTE).json()["items"] == []


def test_with_tokens_the_owner_is_the_tokens_name_and_only_an_admin_may(site: Site, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    lines = {"ops": "admin", "net": "admin", "ci": "lease"}
    tokens.write_text("".join(
        f'{name} = {{ role = "{role}", sha256 = "{sha256(name.encode()).hexdigest()}" }}\n'
        for name, role in lines.items()
    ))
    tokens.chmod(0o600)
    with served(MemoryAnswers(), Tokens(tokens), cordons=site.cordons) as url, \
            httpx.Client(base_url=url, trust_env=False) as http:
        def bearer(name: str) -> dict[str, str]:
            return {"authorization": f"Bearer {name}"}

        assert http.post(ROUTE, json=G0, headers=bearer("ci")).status_code == 403
        (made,) = http.post(ROUTE, json=G0, headers=bearer("ops")).json()["cordons"]
        (other,) = http.post(ROUTE, json={"nodes": ["n1"]}, headers=bearer("net")).json()["cordons"]
        assert (made["owner"], other["owner"]) == ("ops/alice", "net")
        path = f"{ROUTE}/{made['cordon_id']}?owner=alice"
        assert http.delete(path, headers=bearer("net")).status_code == 403
        assert http.delete(path, headers=bearer("ops")).status_code == 204
