"""What simulated nodes show of themselves, over real TLS."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from fallow_collector.certs.authority import Authority
from fallow_sim.cli import main
from fallow_sim.identity import node_name
from tests.sim.server import Server, serving
from tests.sim.test_cli import command

NODES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, collector.pem and nodes/ of NODES nodes, made by the authority of the collector."""
    authority, now = Authority(tmp_path_factory.mktemp("state"), 3600.0), time.time()
    authority.init(now)
    authority.issue_collector(["localhost"], now)
    for number in range(NODES):
        authority.issue_node(node_name(number), now)
    authority.close()
    return authority.tls


def test_each_node_shows_a_certificate_of_its_own(folder: Path) -> None:
    async def scenario() -> tuple[Server, int, str]:
        server = Server()
        pair, ca = (folder / "collector.pem").read_bytes(), (folder / "ca.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([(pair, pair)], ca, require_client_auth=True)
        async with serving(server, credentials=credentials) as port:
            code, _, error = await command(
                "--collector", f"localhost:{port}", "--nodes", str(NODES), "--devices", "1", "--interval", "0.2",
                "--duration", "1", "--quiet", "--tls-ca", str(folder / "ca.pem"), "--tls-nodes", str(folder / "nodes"),
            )
            return server, code, error

    server, code, error = asyncio.run(scenario())
    assert (code, error) == (0, "")
    assert len(server.shown) == NODES
    for node, shown in server.shown.items():
        names = x509.load_pem_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.DNSName) == [node]


def test_a_node_without_a_certificate_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--nodes", str(NODES + 1), "--tls-ca", str(folder / "ca.pem"), "--tls-nodes", str(folder / "nodes")]
    assert main(asked) == 2
    assert f"{folder}/nodes/{node_name(NODES)}.pem: cannot be read: No such file" in capsys.readouterr().err
