"""Every route, by whom it may be asked: each role, and tokens that are for some sites only."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

import httpx
import pytest

from fallow_client.commands.token import Minted, mint
from fallow_collector.api.app import ROUTES_OF
from fallow_collector.api.gate import Knock, judge
from fallow_collector.api.tokens import Role, Tokens, parse
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served

READ, LEASE, ADMIN = Role


class Of(Enum):
    """What a token of some sites gets."""

    ITS = auto()  # the route keeps to them
    NOTHING = auto()  # the route is of all sites, and refuses it
    ANY = auto()  # nothing in the answer is of a site


class Row(NamedTuple):
    needs: Role | None  # None: no token
    of: Of


TABLE: dict[tuple[str, str], Row] = {
    ("get", "/api/v1/capacity"): Row(READ, Of.ITS),
    ("get", "/api/v1/totals"): Row(READ, Of.ITS),
    ("get", "/api/v1/devices"): Row(READ, Of.ITS),
    ("get", "/api/v1/devices/{uuid}"): Row(READ, Of.ITS),
    ("get", "/api/v1/devices/{uuid}/explain"): Row(READ, Of.ITS),
    ("get", "/api/v1/devices/{uuid}/timeline"): Row(READ, Of.ITS),
    ("post", "/api/v1/devices/{uuid}/baseline/accept"): Row(ADMIN, Of.ITS),
    ("get", "/api/v1/nodes"): Row(READ, Of.ITS),
    ("get", "/api/v1/history"): Row(READ, Of.ITS),
    ("post", "/api/v1/inventory"): Row(ADMIN, Of.ITS),
    ("delete", "/api/v1/inventory/{uuid}"): Row(ADMIN, Of.ITS),
    ("get", "/metrics"): Row(READ, Of.ITS),
    ("get", "/metrics/devices"): Row(READ, Of.ITS),
    ("get", "/healthz"): Row(None, Of.ANY),
    ("get", "/readyz"): Row(READ, Of.ANY),
    ("get", "/openapi.json"): Row(READ, Of.ANY),
    ("get", "/api/v1/enroll"): Row(None, Of.ANY),
    ("post", "/api/v1/enroll"): Row(None, Of.ANY),
    ("post", "/api/v1/fit"): Row(READ, Of.ITS),
    ("post", "/api/v1/cordons"): Row(ADMIN, Of.ITS),
    ("get", "/api/v1/cordons"): Row(READ, Of.ITS),
    ("delete", "/api/v1/cordons/{cordon_id}"): Row(ADMIN, Of.ITS),
    ("post", "/api/v1/kubernetes/filter"): Row(READ, Of.ITS),
    ("post", "/api/v1/kubernetes/prioritize"): Row(READ, Of.ITS),
    ("post", "/api/v1/leases"): Row(LEASE, Of.ITS),
    ("get", "/api/v1/leases"): Row(READ, Of.ITS),
    ("get", "/api/v1/leases/{lease_id}"): Row(READ, Of.ITS),
    ("post", "/api/v1/leases/{lease_id}/commit"): Row(LEASE, Of.ITS),
    ("post", "/api/v1/leases/{lease_id}/renew"): Row(LEASE, Of.ITS),
    ("post", "/api/v1/leases/{lease_id}/release"): Row(LEASE, Of.ITS),
    ("post", "/api/v1/nodes/{node}/quiesce"): Row(ADMIN, Of.ITS),
    ("delete", "/api/v1/nodes/{node}/quiesce"): Row(ADMIN, Of.ITS),
    ("get", "/api/v1/ledgers"): Row(READ, Of.NOTHING),
    ("put", "/api/v1/ledgers/{name}"): Row(LEASE, Of.NOTHING),
    ("delete", "/api/v1/ledgers/{name}"): Row(LEASE, Of.NOTHING),
    ("get", "/api/v1/recording"): Row(ADMIN, Of.NOTHING),
    ("get", "/api/v1/watch"): Row(READ, Of.ITS),
    ("get", "/api/v1/alerts"): Row(READ, Of.ITS),
    ("get", "/api/v1/alerts/rules"): Row(READ, Of.NOTHING),
    ("get", "/api/v1/alerts/receivers"): Row(READ, Of.NOTHING),
    ("post", "/api/v1/alerts/test"): Row(ADMIN, Of.NOTHING),
    ("get", "/api/v1/silences"): Row(READ, Of.ITS),
    ("post", "/api/v1/silences"): Row(ADMIN, Of.ITS),
    ("delete", "/api/v1/silences/{silence_id}"): Row(ADMIN, Of.ITS),
}

WHOLE = {role: mint(f"whole_{role}", role) for role in Role}
SOUTH = {role: mint(f"south_{role}", role, ["south"]) for role in Role}
TOKENS = parse("\n".join(minted.line for minted in (*WHOLE.values(), *SOUTH.values())), "tokens")

NORTHERN = "GPU-00c0ffee-1111-2222-3333-444444444440"
SOUTHERN = "CPU-gpu-01"


def answered(method: str, template: str, token: Minted | None) -> int:
    authorization = f"Bearer {token.secret}" if token else ""
    path = template.replace("{", "").replace("}", "")
    problem = judge(Knock(method.upper(), path, "collector", "", authorization), TOKENS, False).problem
    return problem.status if problem else 200


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    path.touch(0o600)
    path.write_text("\n".join(minted.line for minted in (*WHOLE.values(), *SOUTH.values())))
    with served(MemoryAnswers(), Tokens(path), **dict.fromkeys(ROUTES_OF)) as found:
        yield found


def asking(url: str, token: Minted) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {token.secret}"}, trust_env=False)


def test_every_route_has_a_row(url: str) -> None:
    with asking(url, WHOLE[READ]) as http:
        paths = http.get("/openapi.json").json()["paths"]
    routes = {(method, path) for path, item in paths.items() for method in item}
    assert routes - TABLE.keys() == set(), "say in TABLE who may ask these, and see that they keep to a token's sites"


@pytest.mark.parametrize(("method", "template"), TABLE)
def test_each_role_may_what_the_table_says_and_no_more(method: str, template: str) -> None:
    row = TABLE[method, template]
    assert answered(method, template, None) == (401 if row.needs else 200)
    for role in Role:
        allowed = row.needs is None or role.covers(row.needs)
        assert answered(method, template, WHOLE[role]) == (200 if allowed else 403)
        scoped = allowed and row.of is not Of.NOTHING
        assert answered(method, template, SOUTH[role]) == (200 if scoped else 403)


@pytest.mark.parametrize("path", [
    "//api/v1/recording", "/api/v1//recording", "/api//v1/recording/", "/api/v1/recording", "/api/v1/%72ecording",
])
def test_no_spelling_of_a_path_needs_less_than_the_path(url: str, path: str) -> None:
    with asking(url, WHOLE[READ]) as http:
        assert http.get(httpx.URL(url + path)).status_code == 403
    with asking(url, SOUTH[ADMIN]) as http:
        assert http.get(httpx.URL(url + path)).status_code == 403


def test_a_token_of_a_site_sees_its_devices_nodes_and_groups_only(url: str) -> None:
    with asking(url, SOUTH[READ]) as http:
        assert [one["uuid"] for one in http.get("/api/v1/devices").json()["items"]] == [SOUTHERN]
        assert [one["node"] for one in http.get("/api/v1/nodes").json()["items"]] == ["cpu-01"]
        assert {one["site"] for one in http.get("/api/v1/capacity").json()["groups"]} == {"south"}
        assert {one["class"] for one in http.get("/api/v1/totals").json()["totals"]} == {"general"}
        metrics = http.get("/metrics").text
        assert 'site="south"' in metrics
        assert "north" not in metrics
        assert "fallow_collector_nodes" not in metrics
        assert NORTHERN not in http.get("/metrics/devices").text


@pytest.mark.parametrize("path", [
    "/api/v1/devices/{}", "/api/v1/devices/{}/explain", "/api/v1/devices/{}/timeline",
    "/api/v1/history?columns=power_watts&uuid={}",
])
def test_a_device_of_another_site_is_as_one_that_is_not_there(url: str, path: str) -> None:
    with asking(url, SOUTH[READ]) as http:
        assert http.get(path.format(SOUTHERN)).status_code == 200
        foreign, none = http.get(path.format(NORTHERN)), http.get(path.format("none"))
        assert (foreign.status_code, none.status_code) == (404, 404)
        assert foreign.json()["detail"].replace(NORTHERN, "none") == none.json()["detail"]


@pytest.mark.parametrize("path", [
    "/api/v1/devices?site=north", "/api/v1/capacity?site=south,north", "/api/v1/totals?site=north",
    "/api/v1/nodes?site=north", "/metrics/devices?site=north", "/api/v1/watch?site=north",
])
def test_another_site_by_name_is_refused_and_the_refusal_says_which_are_allowed(url: str, path: str) -> None:
    with asking(url, SOUTH[READ]) as http:
        refused = http.get(path)
    assert refused.status_code == 403
    assert refused.json()["detail"] == "token south_read is for south; site 'north' is not among them"


@pytest.mark.parametrize("changed", [
    {"node": "a\nb"}, {"site": "\x1b[2J"}, {"model": "a\u202eb"}, {"vendor": "x" * 257}, {"node": "n\\"},
    {"uuid": "u\\"},
])
def test_what_is_declared_is_printable(url: str, changed: dict[str, str]) -> None:
    with asking(url, WHOLE[ADMIN]) as http:
        refused = http.post("/api/v1/inventory", json={"devices": [{"uuid": "new", **changed}]})
    assert refused.status_code == 400
    assert refused.json()["detail"].isprintable()


def test_an_admin_of_a_site_changes_nothing_of_another(url: str) -> None:
    with asking(url, SOUTH[ADMIN]) as http:
        assert http.delete(f"/api/v1/inventory/{NORTHERN}").status_code == 404
        assert http.post(f"/api/v1/devices/{NORTHERN}/baseline/accept").status_code == 404
        for device in (
            {"uuid": "new", "site": "north"}, {"uuid": "new"}, {"uuid": NORTHERN, "site": "south"},
            {"uuid": "new", "site": "south", "node": "gpu-01"},
        ):
            assert http.post("/api/v1/inventory", json={"devices": [device]}).status_code == 403, device
        fits = {"devices": [{"uuid": "new", "site": "south", "node": "cpu-01"}]}
        assert http.post("/api/v1/inventory", json=fits).status_code == 200
