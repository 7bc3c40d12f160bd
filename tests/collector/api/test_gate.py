from pathlib import Path

import httpx
import pytest

from fallow_client.commands.token import mint
from fallow_collector.api.gate import Knock, host_of, is_loopback, judge
from fallow_collector.api.tokens import Tokens, parse
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served

READ, ADMIN = mint("ci", "read"), mint("ops", "admin")
TOKENS = parse(f"{READ.line}\n{ADMIN.line}", "tokens")


def knock(
    method: str = "GET", path: str = "/api/v1/capacity", host: str = "127.0.0.1:4918", origin: str = "",
    authorization: str = "",
) -> Knock:
    return Knock(method, path, host, origin, authorization)


def status(asked: Knock, tokens: object = TOKENS, loopback_only: bool = True) -> int:
    problem = judge(asked, tokens, loopback_only).problem  # type: ignore[arg-type]
    return problem.status if problem else 200


@pytest.mark.parametrize(("authorization", "get", "post", "delete"), [
    ("", 401, 401, 401),
    ("Bearer", 401, 401, 401),
    ("Bearer wrong", 401, 401, 401),
    ("Basic {read}", 401, 401, 401),
    ("Bearer {read}", 200, 403, 403),
    ("bearer {read}", 200, 403, 403),
    ("Bearer {admin}", 200, 200, 200),
])
def test_read_may_look_and_admin_may_change(authorization: str, get: int, post: int, delete: int) -> None:
    authorization = authorization.format(read=READ.secret, admin=ADMIN.secret)
    asked = [status(knock(method, authorization=authorization)) for method in ("GET", "POST", "DELETE")]
    assert asked == [get, post, delete]


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/metrics/devices", "/openapi.json", "/", "/nowhere"])
def test_with_tokens_everything_but_healthz_needs_one(path: str) -> None:
    assert status(knock(path=path)) == 401
    assert status(knock(path="/healthz")) == 200


def test_the_refusal_names_the_token_and_the_role_it_lacks() -> None:
    verdict = judge(knock("POST", authorization=f"Bearer {READ.secret}"), TOKENS, True)
    assert verdict.problem is not None
    assert verdict.problem.detail == "token ci has role read; POST /api/v1/capacity needs admin"


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1:4918", 200), ("127.0.0.2", 200), ("localhost:4918", 200), ("[::1]:4918", 200), ("LOCALHOST", 200),
    ("", 403), ("evil.example:4918", 403), ("127.0.0.1.evil.example", 403), ("10.0.0.7:4918", 403), ("[", 403),
    ("localhost.evil.example", 403), ("0.0.0.0:4918", 403),
])
def test_without_tokens_a_name_that_was_rebound_to_loopback_gets_nothing(host: str, expected: int) -> None:
    assert status(knock(host=host), None) == expected
    assert status(knock(host=host, path="/healthz"), None) == expected
    assert status(knock(host=host), None, loopback_only=False) == 200


@pytest.mark.parametrize(("origin", "expected"), [
    ("", 200), ("http://127.0.0.1:4918", 200), ("https://evil.example", 403), ("null", 403),
    ("http://127.0.0.1:8000", 403),
])
def test_without_tokens_a_page_of_elsewhere_cannot_post_blindly(origin: str, expected: int) -> None:
    assert status(knock("POST", origin=origin), None) == expected
    assert status(knock("POST", origin=origin), None, loopback_only=False) == expected
    assert status(knock("GET", origin=origin), None) == 200


def test_hosts_are_read_without_port_and_brackets() -> None:
    assert [host_of(text) for text in ("a:1", "[::1]:1", "[::1]", "A", "[x", "")] == ["a", "::1", "::1", "a", "", ""]
    assert not is_loopback("")


def test_the_real_server_asks_for_tokens_and_reads_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(READ.line)
    path.chmod(0o600)
    with served(MemoryAnswers(), Tokens(path)) as url, httpx.Client(base_url=url, trust_env=False) as http:
        refused = http.get("/api/v1/capacity")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.headers["content-type"] == "application/problem+json"
        assert http.get("/healthz").text == "ok\n"
        reader = {"authorization": f"Bearer {READ.secret}"}
        admin = {"authorization": f"Bearer {ADMIN.secret}"}
        assert http.get("/api/v1/capacity", headers=reader).status_code == 200
        assert "bearer" in http.get("/openapi.json", headers=reader).json()["components"]["securitySchemes"]
        uuid = "GPU-dead0000-1111-2222-3333-444444444448"
        assert http.delete(f"/api/v1/inventory/{uuid}", headers=reader).status_code == 403
        assert http.delete(f"/api/v1/inventory/{uuid}", headers=admin).status_code == 401
        path.write_text(f"{READ.line}\n{ADMIN.line}")
        assert http.delete(f"/api/v1/inventory/{uuid}", headers=admin).status_code == 204
        path.write_text("broken")
        ready = http.get("/readyz", headers=reader)
        assert ready.status_code == 503
        assert "tokens.toml: is not TOML" in ready.json()["detail"]


def test_a_change_is_logged_and_a_stranger_writes_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "tokens.toml"
    path.touch(0o600)
    path.write_text(ADMIN.line)
    with served(MemoryAnswers(), Tokens(path)) as url, httpx.Client(base_url=url, trust_env=False) as http:
        for stranger in ("/healthz", "/api/v1/enroll", "/api/v1/inventory"):
            http.post(stranger)
        assert "event=change" not in caplog.text
        http.delete("/api/v1/inventory/none", headers={"authorization": f"Bearer {ADMIN.secret}"})
        assert "event=change method=DELETE path='/api/v1/inventory/none' token=" in caplog.text


def test_the_real_server_without_tokens_refuses_a_rebound_name() -> None:
    with served(MemoryAnswers()) as url, httpx.Client(base_url=url, trust_env=False) as http:
        rebound = http.get("/api/v1/capacity", headers={"host": "evil.example"})
        assert rebound.status_code == 403
        assert "Host is 'evil.example'" in rebound.json()["detail"]
        blind = http.post("/api/v1/devices/GPU-00c0ffee-1111-2222-3333-444444444440/baseline/accept",
                          headers={"origin": "https://evil.example"})
        assert blind.status_code == 403
        assert "access-control-allow-origin" not in http.get("/healthz", headers={"origin": "https://x"}).headers


def test_a_recording_needs_more_than_read() -> None:
    path = "/api/v1/recording"
    assert status(knock(path=path, authorization=f"Bearer {READ.secret}")) == 403
    assert status(knock(path=path, authorization=f"Bearer {ADMIN.secret}")) == 200
