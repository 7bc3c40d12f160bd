"""Everything that is secret goes its whole way once, our logs at debug: nobody who may not know it finds it anywhere.

The servers that secrets are sent to are hostile: they refuse, and repeat all that they were told.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from fallow_client.commands.token import Minted, mint
from tests.e2e.identity import IssuingCollector, Newcomer, run
from tests.e2e.programs import DEADLINE_S, until

AT_DEBUG = (sys.executable, "-c", (
    "import logging, runpy, sys; "
    "[logging.getLogger(name).setLevel('DEBUG') for name in ('fallow_agent', 'fallow_collector', 'fallow_proto')]; "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
))
"""Our own loggers. Libraries stay at the level that both programs set for all: some repeat whole answers below it."""

INFLUX_TOKEN = "influx-s3cret-of-the-store"
WEBHOOK = "/hooks/s3cret-path?key=s3cret-query"
SLACK = "/services/T0S3cret/B0S3cret"
SIGNING = "whsec_" + "czNjcmV0LXNpZ25pbmcta2V5LW9mLXRlc3Rz"
BEARER = "bearer-s3cret-of-ops"
WRONG = "fallow_almost_the_right_token"


class Parrot(BaseHTTPRequestHandler):
    def _repeat(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        said = f"refused {self.path} {dict(self.headers)}".encode()
        self.send_response(401)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_GET(self) -> None:
        self._repeat()

    def do_POST(self) -> None:
        self._repeat()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def parrot() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Guarded(IssuingCollector):
    """With tokens, and its log at debug."""

    under = AT_DEBUG

    def __init__(self, folder: Path, token: Minted, *settings: str) -> None:
        super().__init__(folder)
        self._token = token
        with self._config.open("a") as config:
            config.write("\n" + "\n".join(settings))

    def get(self, path: str) -> Any:
        return self.ask(path).raise_for_status().json()

    def ask(self, path: str, method: str = "GET", token: str = "", **more: Any) -> httpx.Response:
        authorization = {"authorization": f"Bearer {token or self._token.secret}"}
        return httpx.request(
            method, f"{self.url}{path}", verify=self.context, trust_env=False, headers=authorization,
            timeout=DEADLINE_S, **more,
        )

    def _ready(self) -> bool:
        self.check()
        try:
            return self.ask("/healthz").is_success
        except httpx.TransportError:
            return False


def secret_file(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.touch(0o600)
    path.write_text(content)
    return path


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Guarded, Minted]]:
    token = mint("ops", "admin")
    with parrot() as url:
        yield Guarded(
            tmp_path, token,
            f'auth.tokens_file = "{secret_file(tmp_path, "tokens.toml", token.line)}"',
            'store.kind = "influx"', f'store.influx.url = "{url}"', 'store.influx.org = "o"',
            'store.influx.bucket = "b"', 'store.influx.query = "promql"',
            f'store.influx.token_file = "{secret_file(tmp_path, "influx", INFLUX_TOKEN)}"',
            "[alerts]", "group_wait_s = 0",
            "[[alerts.receivers]]", 'name = "ops"', 'type = "webhook"', f'url = "{url}{WEBHOOK}"',
            f'secret_file = "{secret_file(tmp_path, "signing", SIGNING)}"',
            f'token_file = "{secret_file(tmp_path, "bearer", BEARER)}"',
            "[[alerts.receivers]]", 'name = "chat"', 'type = "slack"',
            f'url_file = "{secret_file(tmp_path, "hook", url + SLACK)}"',
        ), token


def test_no_secret_is_in_logs_answers_messages_or_files_that_others_may_read(
    guarded: tuple[Guarded, Minted], tmp_path: Path
) -> None:
    collector, token = guarded
    node = Newcomer(tmp_path / "node", collector)
    told: dict[str, str] = {}

    def says(what: str, done: "subprocess.CompletedProcess[str]") -> None:
        told[what] = done.stdout + done.stderr

    config = ("--config", str(tmp_path / "collector.toml"))
    says("--check of the collector", run("fallow-collector", "--check", *config))
    with collector:
        join = collector.join("--node", "n1")
        says("enroll", node.enrol(join))
        says("enroll again", node.enrol(join))
        agent = node.agent('readers.enabled = ["host"]', "interval_s = 0.5")
        agent.under = AT_DEBUG
        with agent:
            until(lambda: collector.is_connected("n1"), "the agent streams")
            until(lambda: "answered 401" in collector.log.read_text(), "the store refuses")
            until(lambda: all(one["problem"] for one in collector.get("/api/v1/alerts/receivers")["items"]),
                  "the receivers refuse")
            uuid = until(lambda: collector.get("/api/v1/devices")["items"], "the host is there")[0]["uuid"]
            for path in (
                "/metrics", "/metrics/devices", "/readyz", "/openapi.json", "/api/v1/alerts",
                "/api/v1/alerts/receivers", "/api/v1/alerts/rules", "/api/v1/nodes", f"/api/v1/devices/{uuid}",
                "/api/v1/enroll",
                f"/api/v1/history?uuid={uuid}&columns=utilization_ratio&start=-1m",
            ):
                told[path] = collector.ask(path).text
            for name in ("ops", "chat"):
                told[f"test of {name}"] = collector.ask("/api/v1/alerts/test", "POST", json={"receiver": name}).text
            told["a wrong token"] = collector.ask("/api/v1/nodes", token=WRONG).text
            says("--check of a running collector", run("fallow-collector", "--check", *config))
            says("backup", run("fallow-collector", "backup", str(tmp_path / "backup.tar"), *config))
            of_agent = str(tmp_path / "node" / "agent.toml")
            says("--check of the agent", run("fallow-agent", "--check", "--config", of_agent))
            says("certs list", run("fallow-collector", "certs", "list", *config))
    for program in (collector, agent):
        told[str(program.log)] = program.log.read_text()
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    told |= {str(path): path.read_bytes().decode("latin-1") for path in others if path.suffix != ".toml"}

    own = {line for path in (node.identity, collector.state / "tls" / "collector.pem") for line in key_lines(path)}
    secrets = {
        token.secret, join.token, INFLUX_TOKEN, "s3cret-path", "s3cret-query", "T0S3cret", "B0S3cret",
        SIGNING.removeprefix("whsec_"), BEARER, WRONG, *own,
    }
    assert len(own) >= 4
    found = [
        f"{what}: …{text[max(0, text.index(secret) - 150) : text.index(secret) + len(secret)]}"
        for what, text in told.items() for secret in secrets if secret in text
    ]
    assert found == []
    assert "(hidden)" in told["test of ops"], "the receiver did repeat them"
    assert "(hidden)" in told[str(collector.log)], "so did the store"


def key_lines(path: Path) -> list[str]:
    """Of a file with a private key and a certificate."""
    found = re.search(r"-----BEGIN (?:EC )?PRIVATE KEY-----\n(.*?)-----END", path.read_text(), re.DOTALL)
    assert found is not None
    return found[1].split()


def test_what_the_collector_keeps_is_for_its_user_alone_whatever_the_folder_and_the_umask(tmp_path: Path) -> None:
    collector = IssuingCollector(tmp_path)
    collector.state.chmod(0o755)
    with collector:
        open_ = {
            str(path.relative_to(collector.state)) for path in collector.state.rglob("*")
            if path.stat().st_mode & 0o077
        }
        wal = {path.name for path in collector.state.glob("*-wal")}
    assert "state.sqlite-wal" in wal
    assert open_ == {"tls/ca.pem"}, "whom to trust is for everybody"
