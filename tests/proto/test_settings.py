"""Configuration mistakes are named: file, key, and what would be right."""

from pathlib import Path

import msgspec
import pytest

from fallow_proto.settings import SettingsError, load, secret


class Spool(msgspec.Struct):
    dir: str = "/var/lib/x"
    max_mib: int = 1024


class Receiver(msgspec.Struct):
    name: str = ""


class Settings(msgspec.Struct):
    site: str = "default"
    interval_s: float = 1.0
    spool: Spool = msgspec.field(default_factory=Spool)
    receivers: list[Receiver] = []


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return path


def test_without_a_file_all_keys_have_defaults() -> None:
    assert load(Settings, None, "T", {}) == Settings()


def test_a_file_and_the_environment_on_top(tmp_path: Path) -> None:
    path = write(tmp_path, 'site = "a"\n[spool]\nmax_mib = 5\n[[receivers]]\nname = "ops"\n')
    found = load(Settings, path, "T", {"T_SPOOL__MAX_MIB": "7", "T_SITE": "b", "OTHER": "x"})
    assert (found.site, found.spool.max_mib, found.receivers[0].name) == ("b", 7, "ops")


@pytest.mark.parametrize(("text", "message"), [
    ("[spool]\nmax_mb = 5\n", "unknown key spool.max_mb; expected one of dir, max_mib; did you mean spool.max_mib?"),
    ("[[receivers]]\nnam = 1\n", "unknown key receivers[0].nam"),
    ("[spool]\nmax_mib = 'many'\n", "spool.max_mib: Expected `int`, got `str`"),
    ("spool = 3\n", "spool = 3, expected a table [spool]"),
    ("site = \n", "is not TOML: Invalid value (at line 1, column 8)"),
])
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(Settings, path, "T", {})
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "message"), [
    ("T_SPOOL__MAX_MB", "environment variable T_SPOOL__MAX_MB: unknown key spool.max_mb"),
    ("T_SPOL__MAX_MIB", "environment variable T_SPOL__MAX_MIB: there is no table [spol]"),
])
def test_a_mistake_in_the_environment_is_named(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=r".*") as caught:
        load(Settings, None, "T", {name: "1"})
    assert message in str(caught.value)


def test_a_table_that_another_variable_sets_to_a_value_is_named() -> None:
    with pytest.raises(SettingsError, match="T_SPOOL__MAX_MIB: another sets spool = 5, expected a table"):
        load(Settings, None, "T", {"T_SPOOL": "5", "T_SPOOL__MAX_MIB": "1"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(Settings, tmp_path / "none.toml", "T", {})


def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" s3cret\n")
    path.chmod(0o600)
    assert secret(str(path), "token_file") == "s3cret"
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="has mode 0644, so that everybody may read it; expected 0600 or 0640"):
        secret(str(path), "token_file")
