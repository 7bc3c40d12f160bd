"""The files of [tls] are read again when they change, and what is bad locks nobody out."""

from pathlib import Path

import pytest

from fallow_collector.config import TlsSettings
from fallow_collector.tls_files import TlsFiles
from fallow_proto.settings import SettingsError
from tests.collector.ingest.certificates import Authority, Pair


def put(folder: Path, pair: Pair) -> None:
    (folder / "cert.pem").write_bytes(pair.certificate)
    (folder / "key.pem").write_bytes(pair.key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority()
    put(tmp_path, made.issue("collector"))
    (tmp_path / "ca.pem").write_bytes(made.pem)
    return made


def settings(folder: Path) -> TlsSettings:
    return TlsSettings(cert=f"{folder}/cert.pem", key=f"{folder}/key.pem", client_ca=f"{folder}/ca.pem")


def test_new_files_hold_from_the_next_look_on(authority: Authority, tmp_path: Path) -> None:
    files = TlsFiles(settings(tmp_path))
    new = authority.issue("collector")
    put(tmp_path, new)
    files.refresh()
    assert (files.pems.certificate, files.pems.key, files.number) == (new.certificate, new.key, 1)
    files.refresh()
    assert files.number == 1


def test_between_two_renames_the_old_pair_holds(authority: Authority, tmp_path: Path) -> None:
    files = TlsFiles(settings(tmp_path))
    before, new = files.pems, authority.issue("collector")
    (tmp_path / "key.pem").write_bytes(new.key)
    files.refresh()
    assert files.pems == before
    assert "cannot be used" in files.problem
    (tmp_path / "cert.pem").write_bytes(new.certificate)
    files.refresh()
    assert (files.pems.certificate, files.problem) == (new.certificate, "")


def test_a_file_that_is_gone_is_told_and_found_again(authority: Authority, tmp_path: Path) -> None:
    files = TlsFiles(settings(tmp_path))
    (tmp_path / "ca.pem").rename(tmp_path / "aside")
    files.refresh()
    assert "cannot be used" in files.problem
    (tmp_path / "aside").rename(tmp_path / "ca.pem")
    files.refresh()
    assert (files.problem, files.number) == ("", 0)


def test_a_collector_does_not_start_with_bad_files(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(authority.issue("other").key)
    with pytest.raises(SettingsError, match="the key being the certificate's"):
        TlsFiles(settings(tmp_path))
