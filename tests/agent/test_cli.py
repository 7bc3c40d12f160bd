"""The command: what it prints and how it exits, as a real process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.certificates import DAY, Authority
from tests.agent.collector import Collector
from tests.agent.process import AgentProcess, configuration

NOBODY = "127.0.0.1:1"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fallow_agent.cli", *arguments],
        capture_output=True, text=True, timeout=60.0, check=False, env={**os.environ, **environment},
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(configuration(tmp_path, NOBODY))
    return path


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fallow-agent 0.")


def test_check_says_what_every_key_means(config: Path) -> None:
    done = run("--config", config, "--check", FALLOW_AGENT_INTERVAL_S="0.5")
    assert done.returncode == 0, done.stderr
    assert "interval_s = 0.5" in done.stdout
    assert f'spool.dir = "{config.parent / "spool"}"' in done.stdout
    assert "This node is node1 of site default; its readers are host." in done.stdout
    assert done.stdout.endswith("The configuration is good.\n")


def test_a_mistake_in_the_configuration_is_named_and_the_exit_status_is_1(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("intervall_s = 1")
    for what in ((), ("--check",), ("--once",), ("--doctor",)):
        done = run("--config", path, *what)
        assert done.returncode == 1
        assert done.stderr == (
            f"{path}: unknown key intervall_s; expected one of collector, insecure, interval_s, kubernetes, node, "
            "rack, readers, site, spool, tls; did you mean interval_s?\n"
        )


def test_a_configuration_that_is_not_there_is_named() -> None:
    done = run("--config", "/nonexistent/agent.toml", "--check")
    assert done.returncode == 1
    assert "/nonexistent/agent.toml: cannot be read" in done.stderr


def test_two_things_at_once_are_a_usage_error() -> None:
    assert run("--once", "--check").returncode == 2


def test_once_prints_the_hosts_values_without_a_collector(config: Path) -> None:
    done = run("--config", config, "--once", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["node"], said["readers"]) == ("node1", [{"name": "host", "state": "ok", "message": ""}])
    (host,) = said["devices"]
    assert (host["class"], host["reason"], host["reader"]) == ("general", "ok", "host")
    assert host["cpu_cores"] == os.cpu_count()
    assert 0 <= host["utilization_ratio"] <= 1, "a rate, so it was read twice"
    assert host["memory_usage_bytes"] < host["memory_limit_bytes"]
    assert set(host["unsupported"]) <= {name for name, value in host.items() if value is None}


def test_once_as_a_table_shows_units_and_what_is_not_known(config: Path) -> None:
    done = run("--config", config, "--once")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["READER", "INDEX", "MODEL", "UTIL", "MEMORY", "POWER", "TEMP", "PROCS", "UUID"]
    assert " GiB " in lines[1]
    assert "–" in lines[1]
    assert lines[-1] == "reader host: ok"


def test_once_works_beside_a_running_agent(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY) as agent:
        agent.wait_until_ready()
        assert run("--config", agent.config, "--once").returncode == 0
        assert agent.stop() == 0


def test_once_waits_for_another_once_and_does_not_call_its_reader_stuck(config: Path) -> None:
    command = [sys.executable, "-m", "fallow_agent.cli", "--config", str(config), "--once"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60.0)[0] for process in both]
    assert [text.splitlines()[-1] for text in said] == ["reader host: ok"] * 2


def test_once_without_a_device_says_so_and_fails(config: Path) -> None:
    config.write_text(config.read_text().replace('"host"', '"nvidia"'))
    done = run("--config", config, "--once", LD_LIBRARY_PATH="")
    if "reader nvidia: ok" in done.stdout:
        pytest.skip("this machine has NVIDIA devices")
    assert done.returncode == 1
    assert done.stdout.startswith("no devices\n")


def test_the_doctor_finds_nothing_wrong_where_nothing_is(config: Path) -> None:
    with Collector() as collector:
        done = run("--config", config, "--doctor", FALLOW_AGENT_COLLECTOR=collector.address)
        assert collector.hellos() == [], "it must not take the running agent's place"
    assert done.returncode == 0, done.stdout
    marks = {line.partition(":")[0] for line in done.stdout.splitlines()}
    assert {"ok    reader host", "ok    collector 127.0.0.1", "ok    [spool] dir"} <= marks


def test_the_doctor_says_what_to_do_about_a_collector_that_is_not_there(config: Path) -> None:
    done = run("--config", config, "--doctor")
    assert done.returncode == 1
    assert f"fail  collector {NOBODY}: no gRPC connection without TLS" in done.stdout
    assert "check that the collector runs" in done.stdout


def test_the_doctor_blames_an_expired_certificate(tmp_path: Path, config: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("node1", ends_in=-DAY)
    with Collector(tls=(authority.sign("collector"), authority)) as collector:
        done = run(
            "--config", config, "--doctor",
            FALLOW_AGENT_COLLECTOR=collector.address, FALLOW_AGENT_TLS__CA=str(authority.ca),
            FALLOW_AGENT_TLS__CERT=str(pair.cert), FALLOW_AGENT_TLS__KEY=str(pair.key),
        )
    assert done.returncode == 1
    assert "certificate has expired" in done.stdout


def test_the_doctor_names_a_spool_folder_that_cannot_be_used(config: Path) -> None:
    (config.parent / "spool").write_text("in the way")
    done = run("--config", config, "--doctor")
    assert done.returncode == 1
    assert "fail  [spool] dir" in done.stdout


def test_the_doctor_fails_a_reader_that_is_asked_for_and_has_nothing_to_read(config: Path) -> None:
    config.write_text(config.read_text().replace('"host"', '"nvidia"'))
    done = run("--config", config, "--doctor", LD_LIBRARY_PATH="")
    if "ok    reader nvidia" in done.stdout:
        pytest.skip("this machine has NVIDIA devices")
    assert "fail  reader nvidia: is asked for" in done.stdout
