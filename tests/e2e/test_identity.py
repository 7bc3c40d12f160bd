"""Certificates from the first to the last, with real commands, processes and TLS."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from stat import S_IMODE

import pytest

from fallow_proto.durable import replace as replace_file
from tests.collector.ingest.certificates import Authority
from tests.e2e.identity import IssuingCollector, Newcomer, TlsCollector
from tests.e2e.programs import Agent, until
from tests.faults.audit import audit, given_out, in_spool, in_store
from tests.faults.settled import SUPERSEDED
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

LIFE_S = 20.0
"""Of the certificates of agents that are to renew: long enough for a renewal on a busy machine."""

SHORT_S = 25.0
"""Of a certificate that is to expire under a stream."""

HOST = ('readers.enabled = ["host"]', "interval_s = 0.5")


@pytest.mark.server("cc")
def test_a_node_enrols_renews_and_outlives_the_authority_and_no_reading_is_lost(
    tmp_path: Path, nvml_library: Path
) -> None:
    collector = IssuingCollector(tmp_path, LIFE_S)
    node = Newcomer(tmp_path / "node", collector)
    board = h100(0)
    driver = Simulator(nvml_library, tmp_path / "scenario")
    driver.note_energy()
    driver.play(Scenario((replace(board, energy_since_s=time.monotonic()),)))
    with collector:
        join = collector.join("--node", "n1")
        done = node.enrol(join)
        assert done.returncode == 0, done.stderr
        with node.agent('readers.enabled = ["nvidia"]', "interval_s = 0.5", **driver.environment) as agent:
            until(lambda: collector.is_connected("n1"), "the agent streams")
            until(lambda: len(collector.leaves("n1")) >= 2, "the certificate is renewed")
            collector.certs("rotate")
            assert collector.authorities == 2
            until(lambda: collector.authorities == 1, "the old authority is over, and the new one alone is trusted")
            streams = agent.log.read_text().count("uplink streaming")
            until(lambda: agent.log.read_text().count("uplink streaming") > streams, "a stream after all that")
    made = given_out(driver.energy_log, board.uuid)
    stored = in_store(collector.state / "store", board.uuid)
    found = audit(made, stored, ())
    assert (found.doubled, found.invented) == (frozenset(), frozenset())
    kept = {*stored, *in_spool(tmp_path / "node" / "agent", board.uuid)}
    between = made[made.index(min(kept)) : made.index(max(kept)) + 1]
    assert len(between) > 50
    # A report that is late takes the newest of two readings; a cut that lost some would lose them in a row.
    missing = [value not in kept for value in between]
    assert not any(one and after for one, after in pairwise(missing))
    assert sum(missing) <= SUPERSEDED * len(between)
    assert len(collector.leaves("n1")) >= 4
    assert secrets_in_logs(tmp_path, join.token, node.identity) == []


def test_a_revoked_node_is_cut_off_within_seconds_and_a_new_token_lets_it_in_anew(tmp_path: Path) -> None:
    collector = IssuingCollector(tmp_path)
    node, other = (Newcomer(tmp_path / name, collector, name) for name in ("n1", "n2"))
    with collector:
        for each in (node, other):
            assert each.enrol(collector.join("--node", each.node)).returncode == 0
        with node.agent(*HOST) as agent, other.agent(*HOST):
            until(lambda: collector.is_connected("n1") and collector.is_connected("n2"), "both stream")
            pending = collector.join("--node", "n1")
            collector.certs("revoke", "n1")
            until(lambda: not collector.is_connected("n1"), "its stream ends", deadline_s=30.0)
            until(lambda: "was revoked" in agent.log.read_text(), "the agent is told why")
            refused = node.enrol(pending)
            assert refused.returncode == 1
            assert "this join token is not known here" in refused.stderr, "its tokens went with it"
            assert not collector.is_connected("n1")
            assert collector.is_connected("n2")
            done = node.enrol(collector.join("--node", "n1"))
            assert done.returncode == 0, done.stderr
            until(lambda: collector.is_connected("n1"), "it streams again, without a restart")
        assert [leaf.revoked for leaf in collector.leaves("n1")] == [True, False]


def test_what_a_join_token_is_not_good_for_is_refused_with_the_reason(tmp_path: Path) -> None:
    collector = IssuingCollector(tmp_path)
    with collector:
        first, second = Newcomer(tmp_path / "1", collector, "gpu01"), Newcomer(tmp_path / "2", collector, "gpu02")
        join = collector.join("--nodes", "gpu[01-02]")
        wrong = join._replace(pin="ab" * 32)
        refused = second.enrol(wrong)
        assert refused.returncode == 1
        assert "does not know the authority abab" in refused.stderr
        assert first.enrol(join).returncode == 0
        held = first.identity.read_bytes()
        assert S_IMODE(first.identity.stat().st_mode) == 0o600
        again = first.enrol(join)
        assert again.returncode == 1
        assert "was used for node gpu01 at" in again.stderr
        assert first.identity.read_bytes() == held, "what it had is as it was"
        unpinned = join._replace(pin="")
        assert "--ca-sha256 names the collector's own authority" in second.enrol(unpinned).stderr
        done = second.enrol(unpinned, SSL_CERT_FILE=str(collector.ca))
        assert done.returncode == 0, f"each node of the range once: {done.stderr}"
        third = Newcomer(tmp_path / "3", collector, "gpu03")
        assert "this join token is not for node gpu03" in third.enrol(join).stderr
        short = collector.join("--node", "gpu03", "--ttl", "1s")
        made = time.time()
        until(lambda: time.time() > made + 2.0, "its time is over")  # its end is kept in whole seconds
        assert "expired at" in third.enrol(short).stderr
        assert "is not known here" in third.enrol(join._replace(token="fallow_join_guess")).stderr
        assert not third.identity.exists()


def test_of_two_that_enrol_at_once_with_one_token_one_wins(tmp_path: Path) -> None:
    collector = IssuingCollector(tmp_path)
    with collector, ThreadPoolExecutor() as pool:
        join = collector.join("--node", "n1")
        done = list(pool.map(lambda name: Newcomer(tmp_path / name, collector).enrol(join), ("a", "b", "c")))
        assert sorted(each.returncode for each in done) == [0, 1, 1]
        assert sum("was used for node n1" in each.stderr for each in done) == 2
        assert len(collector.leaves("n1")) == 1


def secrets_in_logs(folder: Path, token: str, identity: Path) -> list[Path]:
    """Logs, and what the collector keeps, that hold the token or a line of the agent's key."""
    key = identity.read_text().split("-----BEGIN CERTIFICATE")[0].splitlines()[1]
    secrets = (token.encode(), key.encode())
    kept = [*folder.rglob("*.log"), folder / "collector" / "certs.sqlite"]
    return [path for path in kept if any(secret in path.read_bytes() for secret in secrets)]


def test_certificates_of_the_sites_own_authority_are_changed_under_running_programs(tmp_path: Path) -> None:
    site = Authority("site")
    ca, own, pair = (tmp_path / name for name in ("ca.pem", "own.pem", "node.pem"))
    ca.write_bytes(site.pem)

    def issue(path: Path, name: str, valid_s: float) -> bytes:
        made = site.issue(name, names=(name,), valid=timedelta(seconds=valid_s))
        replace_file(path, made.key + made.certificate, mode=0o600)
        return PEM_cert_to_DER_cert(made.certificate.decode())

    issue(own, "localhost", 3600.0)
    collector = TlsCollector(tmp_path, own, ca)
    collector.url = collector.url.replace("127.0.0.1", "localhost")
    grpc = collector.grpc.replace("127.0.0.1", "localhost")
    tls = f'tls = {{ ca = "{ca}", cert = "{pair}", key = "{pair}" }}'
    agent = Agent(tmp_path, grpc, *HOST, tls, more_environment={"FALLOW_AGENT_NODE": "node"})
    with ExitStack() as running:
        running.enter_context(collector)
        issue(pair, "node", SHORT_S)  # not before: a busy machine takes long to start a program
        running.enter_context(agent)
        until(lambda: collector.is_connected("node"), "the agent streams")
        until(lambda: "of node node has expired" in agent.log.read_text(), "its stream ends with its certificate")
        until(lambda: "is not good for" in agent.log.read_text(), "it blames its certificate")
        assert not collector.is_connected("node")
        issue(pair, "node", 3600.0)
        until(lambda: collector.is_connected("node"), "it streams again with the new file")
        streams = agent.log.read_text().count("uplink streaming")
        issue(pair, "node", 3600.0)
        until(lambda: agent.log.read_text().count("uplink streaming") > streams, "a new file makes a new stream")
        new = issue(own, "localhost", 3600.0)
        for address in (grpc, collector.url.removeprefix("https://")):
            until(partial(shows, collector, address, pair, new), f"{address} shows the new certificate")


def shows(collector: TlsCollector, address: str, client: Path, certificate: bytes) -> bool:
    return collector.shown(address, client) == certificate
