"""agent.toml: defaults, and a sentence for each mistake that names key, value and what would be right."""

from pathlib import Path

import pytest

from fallow_agent import config
from fallow_agent.config import Settings, host_and_port, is_loopback, read
from fallow_agent.errors import ConfigError
from fallow_agent.readers.registry import READERS


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    settings = read(written(tmp_path, ""))
    assert settings == Settings()
    assert settings.collector == "127.0.0.1:4917"
    assert settings.interval_s == 1.0
    assert (settings.spool.dir, settings.spool.max_mib, settings.spool.max_age_h) == ("/var/lib/fallow/agent", 1024, 72)
    assert settings.reader_names == list(READERS)
    assert settings.node_name


def test_every_key_can_be_set(tmp_path: Path) -> None:
    settings = read(written(tmp_path, """
        site = "sh-1"
        node = "n17"
        rack = "r4"
        collector = "collector.example:4917"
        interval_s = 0.5
        insecure = false
        [readers]
        enabled = ["host", "host"]
        deadline_s = 2.5
        run_dir = "/run/other"
        [spool]
        dir = "/data/spool"
        max_mib = 10
        max_age_h = 1.5
        [tls]
        ca = "/etc/ca.pem"
        cert = "/etc/cert.pem"
        key = "/etc/key.pem"
        """))
    assert (settings.node_name, settings.rack, settings.reader_names) == ("n17", "r4", ["host"])
    assert settings.has_tls


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("interval = 1", "unknown key interval.*did you mean interval_s"),
        ("rack = 'row 4'", "rack = 'row 4', expected a name without spaces"),
        ("interval_s = 0.05", "interval_s = 0.05, expected 0.1 to 10"),
        ("interval_s = 11", "interval_s = 11.0, expected 0.1 to 10"),
        ("interval_s = nan", "interval_s = nan, expected 0.1 to 10"),
        ('spool.dir = "/var/a\\u0000b"', r"spool.dir = '/var/a\\x00b', expected an absolute path without control"),
        ('readers.run_dir = "run"', "readers.run_dir = 'run', expected an absolute path"),
        ('tls = {ca = "/a", cert = "/b", key = "/\\u0000"}', "tls.key = .* without control characters"),
        ("readers.enabled = []", r"readers.enabled = \[\], expected one of auto, nvidia, ascend, host"),
        ('interval_s = "1"', "interval_s: Expected `float`, got `str`"),
        ('collector = "collector"', "host and port are needed"),
        ('collector = "http://127.0.0.1:4917"', "collector = 'http://127.0.0.1:4917'"),
        ('collector = "127.0.0.1:0"', "host and port are needed"),
        ('collector = "::1:4917"', "an IPv6 address needs brackets"),
        ('collector = "10.0.0.1:4917"', "another machine and \\[tls\\] is empty"),
        ('node = "a b"', "node = 'a b', expected a name without spaces"),
        ('node = "a\\u0007"', "node = 'a\\\\x07'"),
        (f'node = "{"n" * 254}"', "has 254 characters, expected at most 253"),
        ('site = ""', 'site = "", expected a name'),
        ("[readers]\nenabled = ['nvdia']", "readers.enabled names 'nvdia', expected one of auto, "),
        ("[readers]\ndeadline_s = 0", "readers.deadline_s = 0.0, expected 0.1 to 60"),
        ("[readers]\nrun_dir = 'run'", "readers.run_dir = 'run', expected an absolute path"),
        ("[spool]\nmax_mib = 0", "spool.max_mib = 0, expected 1 to "),
        ("[spool]\nmax_age_h = -1", "spool.max_age_h = -1.0, expected 0.01 to 8760"),
        ("[tls]\nca = '/ca.pem'", "tls.cert and tls.key not set, expected ca, cert and key together"),
        ("site = ", "is not TOML"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, "interval_s = 99\ncollector = 'x'\n[spool]\nmax_mib = 0"))
    assert len(str(caught.value).splitlines()) == 3


def test_another_machine_without_tls_has_to_be_meant(tmp_path: Path) -> None:
    assert read(written(tmp_path, 'collector = "10.0.0.1:4917"\ninsecure = true')).insecure


def test_a_variable_of_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALLOW_AGENT_SPOOL__MAX_MIB", "7")
    assert read(written(tmp_path, "[spool]\nmax_mib = 5")).spool.max_mib == 7


def test_addresses() -> None:
    assert host_and_port("[::1]:4917") == ("::1", 4917)
    assert host_and_port("collector:1") == ("collector", 1)
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("collector", "10.0.0.1", "0.0.0.0", "localhost.example")))


def test_a_host_name_that_is_no_name_for_a_node_is_said_to_be_the_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "a\udcffb")
    with pytest.raises(ConfigError, match=r"node is not set, and the host name = .*expected a name without spaces"):
        read(None)
    assert config.complaints(Settings(node="n1")) == []


def test_a_default_file_that_cannot_be_looked_at_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent.toml"
    monkeypatch.setattr(config, "DEFAULT_PATH", path)
    assert read(None) == Settings()
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(None)
