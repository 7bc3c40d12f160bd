"""collector.toml: what is accepted, and what a mistake is told."""

import re
from pathlib import Path

import pytest

from fallow_collector.config import PREFIX, Settings, is_loopback, load_settings
from fallow_proto.settings import SettingsError, load


def settings(tmp_path: Path, text: str, **environment: str) -> Settings:
    path = tmp_path / "collector.toml"
    path.write_text(text)
    return load(Settings, path, PREFIX, environment)


def test_an_empty_file_is_a_whole_configuration(tmp_path: Path) -> None:
    defaults = settings(tmp_path, "")
    assert defaults == Settings()
    assert (defaults.grpc.listen, defaults.http.listen) == ("127.0.0.1:4917", "127.0.0.1:4918")
    assert (defaults.store.kind, defaults.state.dir) == ("embedded", "/var/lib/fallow/collector")


def test_the_keys_that_tools_rely_on_are_all_known(tmp_path: Path) -> None:
    found = settings(tmp_path, """
site = "lingang"
[grpc]
listen = "0.0.0.0:4917"
[http]
listen = "[::]:4918"
[tls]
cert = "a.crt"
key = "a.key"
client_ca = "ca.crt"
[auth]
tokens_file = "tokens.toml"
insecure = false
[state]
dir = "/tmp/state"
[inventory]
file = "devices.csv"
[store]
kind = "influx"
[store.embedded]
max_gib = 50
min_free_gib = 5
raw_days = 7
rollup_days = 400
[store.influx]
url = "http://127.0.0.1:8428"
org = "o"
bucket = "b"
token_file = "t"
settle_s = 15
query = "promql"
[idle]
confirm_s = 30
stale_s = 5
lost_s = 30
holders = [{ command = "Xorg" }]
""")
    assert found.store.influx.settle_s == 15
    assert found.idle.holders[0].command == "Xorg"


def test_the_environment_wins(tmp_path: Path) -> None:
    found = settings(tmp_path, "[grpc]\nlisten = '127.0.0.1:1'", FALLOW_COLLECTOR_GRPC__LISTEN="127.0.0.1:2")
    assert found.grpc.listen == "127.0.0.1:2"


@pytest.mark.parametrize(("text", "told"), [
    ("[grpc]\nlisten = 4917", "grpc.listen: Expected `str`, got `int`"),
    ("[grpc]\nlisten = 'localhost'", "listen = 'localhost', expected host:port, such as 127.0.0.1:4917"),
    ("[http]\nlisten = '127.0.0.1:99999'", "listen = '127.0.0.1:99999', expected host:port"),
    ("[http]\nlisten = '::1:4918'", "listen = '::1:4918', expected host:port, such as 127.0.0.1:4918 or [::]:4918"),
    ("[grcp]\nlisten = ''", "unknown key grcp; expected one of"),
    ("[grpc]\nlissten = ''", "unknown key grpc.lissten; expected one of listen; did you mean grpc.listen?"),
    ("[alarms]\nrules = []", "unknown key alarms"),
    ("site = 'a b'", "site = 'a b', expected 1 to 253 printable characters without a space"),
    ("[tls]\ncert = 'a'", "cert and key go together"),
    ("[tls]\nclient_ca = 'a'", "client_ca needs cert and key"),
    ("[state]\ndir = ''", "dir is empty, expected a folder"),
    ("[store]\nkind = 'sqlite'", "Invalid enum value 'sqlite'"),
    ("[store]\nkind = 'influx'", "needs [store.influx] url"),
    ("[store.embedded]\nraw_days = -1", "store.embedded.raw_days: Expected `float` > 0"),
    ("[idle]\nstale_s = 60", "stale_s = 60.0 must be below lost_s = 30.0"),
    ("[grpc]\nlisten = '0.0.0.0:4917'", "open beyond this host without mutual TLS"),
    ("[grpc]\nlisten = '0.0.0.0:4917'\n[tls]\ncert = 'a'\nkey = 'b'", "without mutual TLS"),
    ("[http]\nlisten = '0.0.0.0:4918'", "open beyond this host without TLS and tokens"),
    ("[http]\nlisten = '0.0.0.0:4918'\n[tls]\ncert = 'a'\nkey = 'b'", "without TLS and tokens"),
    ("[http]\nlisten = '10.0.0.1:4918'\n[auth]\ntokens_file = 't'", "without TLS and tokens"),
])
def test_a_mistake_is_told_with_what_would_be_right(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    assert told in str(caught.value)
    assert str(tmp_path / "collector.toml") in str(caught.value)


@pytest.mark.parametrize(("text", "told"), [
    ("group_by = ['a b']", "group_by: 'a b' is no name of a label"),
    ("external_url = 'fallow'", "external_url = 'fallow', expected such as https://"),
    ("receivers = [{name = 'r', type = 'slack', url = 'http://169.254.169.254/latest'}]",
     "receiver 'r': 169.254.169.254 is at 169.254.169.254, a link-local address, which is never asked"),
    ("receivers = [{name = 'r', type = 'slack', url = 'http://[fe80::1]/'}]", "a link-local address"),
])
def test_a_mistake_in_who_is_told_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        settings(tmp_path, f"[alerts]\n{text}")


def test_files_of_rules_stand_beside_the_configuration_that_names_them(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text("[health]\nrules = 'own/health.toml'\n[alerts]\nrules = ['rules.toml', '/srv/rules.toml']\n")
    found = load_settings(config)
    assert found.health.rules == f"{tmp_path}/own/health.toml"
    assert found.alerts.rules == (f"{tmp_path}/rules.toml", "/srv/rules.toml")


def test_without_a_file_of_rules_there_is_none(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text("")
    assert (load_settings(config).health.rules, load_settings(config).alerts.rules) == ("", ())


def test_whoever_says_insecure_gets_it(tmp_path: Path) -> None:
    text = "[auth]\ninsecure = true\n[grpc]\nlisten = '0.0.0.0:4917'\n[http]\nlisten = '0.0.0.0:4918'"
    assert settings(tmp_path, text).grpc.listen == "0.0.0.0:4917"


@pytest.mark.parametrize(("listen", "loopback"), [
    ("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True),
    ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False), ("collector.example:1", False),
])
def test_only_loopback_is_loopback(listen: str, loopback: bool) -> None:
    assert is_loopback(listen) is loopback
