"""A collector with an authority of its own, and agents that enrol with it: real commands, real TLS."""

import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.e2e.programs import BIN, DEADLINE_S, Agent, Collector, environment


class Join(NamedTuple):
    token: str
    pin: str


class Leaf(NamedTuple):
    """A line of `certs list`."""

    serial: str
    kind: str
    revoked: bool
    name: str


class TlsCollector(Collector):
    """On loopback with mutual TLS. pair: file of its key and certificate."""

    def __init__(self, folder: Path, pair: Path, ca: Path, *settings: str) -> None:
        super().__init__(
            folder, f'tls.cert = "{pair}"', f'tls.key = "{pair}"', f'tls.client_ca = "{ca}"',
            "store.embedded.min_free_gib = 0", *settings,
        )
        self.ca = ca
        self.url = self.url.replace("http://", "https://")

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}", verify=self.context, trust_env=False).raise_for_status().json()

    def is_connected(self, node: str) -> bool:
        return any(item["node"] == node and item["connected"] for item in self.get("/api/v1/nodes")["items"])

    def shown(self, address: str, client: Path) -> bytes:
        """The certificate, in DER, that it shows on a port. client: file of key and certificate of who asks."""
        context = self.context
        context.load_cert_chain(client)
        context.set_alpn_protocols(["h2", "http/1.1"])
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as plain, context.wrap_socket(
            plain, server_hostname=host
        ) as secure:
            return secure.getpeercert(binary_form=True) or b""

    def _ready(self) -> bool:
        self.check()
        try:
            return httpx.get(f"{self.url}/readyz", verify=self.context, trust_env=False).is_success
        except httpx.TransportError:
            return False


class IssuingCollector(TlsCollector):
    """With an authority of its own, made by its own commands. life_s: of agents' certificates."""

    def __init__(self, folder: Path, life_s: float = 604_800.0) -> None:
        self.state = folder / "collector"
        tls = self.state / "tls"
        super().__init__(folder, tls / "collector.pem", tls / "ca.pem", f"tls.agent_life_h = {life_s / 3600}")
        self.certs("init")
        self.certs("issue", "--collector", "localhost", "127.0.0.1")

    def certs(self, *arguments: str) -> str:
        done = run("fallow-collector", "certs", "--config", str(self._config), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def join(self, *arguments: str) -> Join:
        printed = self.certs("join-token", *arguments)
        found = re.search(r"^fallow_join_\S+$", printed, re.MULTILINE)
        assert found is not None
        return Join(found[0], printed.split()[-1])

    def leaves(self, name: str) -> list[Leaf]:
        """Oldest first."""
        lines = (re.split(r"  +", line) for line in self.certs("list").splitlines()[1:])
        return [Leaf(serial, kind, revoked != "-", of) for serial, kind, _, revoked, of in lines if of == name]

    @property
    def authorities(self) -> int:
        return self.ca.read_text().count("BEGIN CERTIFICATE")


class Newcomer:
    """A node that has no certificate yet."""

    def __init__(self, folder: Path, collector: IssuingCollector, node: str = "n1") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.node = node
        self._collector = collector
        self._config = folder / "enrol.toml"
        self._config.write_text(f'node = "{node}"\nspool.dir = "{folder / "agent"}"\n')

    def enrol(self, join: Join, **more_environment: str) -> subprocess.CompletedProcess[str]:
        """With a pin of "", the system's authorities are believed."""
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(join.token)
        return run(
            "fallow-agent", "enroll", "--collector", self._collector.url, "--token-file", str(token),
            "--config", str(self._config), *(["--ca-sha256", join.pin] if join.pin else []), **more_environment,
        )

    @property
    def identity(self) -> Path:
        return self.folder / "agent" / "tls" / "agent.pem"

    def agent(self, *settings: str, **more_environment: str) -> Agent:
        """With what enrol() put there."""
        pair, ca = self.identity, self.identity.with_name("ca.pem")
        return Agent(
            self.folder, self._collector.grpc, *settings, f'tls = {{ ca = "{ca}", cert = "{pair}", key = "{pair}" }}',
            more_environment={"FALLOW_AGENT_NODE": self.node, **more_environment},
        )


def run(program: str, *arguments: str, **more_environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / program), *arguments], env=environment(**more_environment), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )
