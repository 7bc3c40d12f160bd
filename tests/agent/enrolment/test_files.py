"""Where the certificate is put: by whom, and whether that is possible, is known before anything is asked for."""

import os
from pathlib import Path
from stat import S_IMODE

import pytest

from fallow_agent.config import Settings, SpoolSettings, Tls
from fallow_agent.enrolment import renew
from fallow_agent.enrolment.cli import enrol
from fallow_agent.enrolment.files import Files, as_agent, files_of, try_out, write
from fallow_agent.enrolment.server import Server
from fallow_agent.errors import EnrolmentError
from fallow_proto.enrolment import Enrolled
from tests.agent.users import NOBODY, open_folder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


class Collector(Server):
    """One that must not be asked, for its tokens are spent by being asked."""

    def __init__(self) -> None:
        super().__init__("https://localhost", "")
        self.asked = 0

    def enrol(self, token: str, node: str, csr: str) -> Enrolled:
        self.asked += 1
        return Enrolled("certificate", "ca")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text("fallow_join_x")
    return path


def of_nobody(folder: Path) -> Path:
    """The agent's own folder."""
    state = folder / "agent"
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    return state


def settings(state: Path, tls: Tls | None = None) -> Settings:
    return Settings(node="n1", spool=SpoolSettings(dir=str(state)), tls=tls or Tls())


@needs_root
def test_what_root_enrols_is_the_agents_own(token: Path) -> None:
    with open_folder() as folder:
        state = of_nobody(folder)
        files = files_of(settings(state))
        enrol(settings(state), Collector(), token, files)
        for path, mode in ((files.ca.parent, 0o700), (files.ca, 0o644), (files.identity, 0o600)):
            found = path.stat()
            assert (found.st_uid, S_IMODE(found.st_mode)) == (NOBODY, mode)
        assert {path.name for path in files.ca.parent.iterdir()} == {"ca.pem", "agent.pem"}
        assert os.geteuid() == 0


@needs_root
def test_a_link_that_the_agents_user_has_put_there_leads_root_nowhere(token: Path) -> None:
    with open_folder() as folder:
        state, others = of_nobody(folder), folder / "others"
        others.mkdir(mode=0o755)
        (state / "tls").symlink_to(others)
        collector = Collector()
        with pytest.raises(EnrolmentError, match="cannot be written: Permission denied"):
            enrol(settings(state), collector, token, files_of(settings(state)))
        assert (list(others.iterdir()), others.stat().st_uid, collector.asked) == ([], 0, 0)


@needs_root
def test_no_folder_that_others_use_is_given_to_the_agent(token: Path) -> None:
    with open_folder() as folder:
        etc = folder / "etc"
        etc.mkdir(mode=0o755)
        pair = str(etc / "agent.pem")
        mine = settings(of_nobody(folder), Tls(ca=str(etc / "ca.pem"), cert=pair, key=pair))
        collector = Collector()
        with pytest.raises(EnrolmentError, match="a folder that is its own, for it renews them"):
            enrol(mine, collector, token, files_of(mine))
        assert (list(etc.iterdir()), etc.stat().st_uid, collector.asked) == ([], 0, 0)


@needs_root
def test_a_folder_that_is_not_there_yet_is_made_for_the_agents_user() -> None:
    with open_folder() as folder:
        state = folder / "var" / "agent"
        with as_agent(state, user="nobody"):
            assert os.geteuid() == NOBODY
        assert (state.stat().st_uid, S_IMODE(state.stat().st_mode)) == (NOBODY, 0o700)
        assert state.parent.stat().st_uid == 0


def test_what_cannot_be_written_is_known_before_it_is_asked_for_and_a_trial_leaves_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path / "tls" / "ca.pem", tmp_path / "tls" / "agent.pem")
    try_out(files)
    write(files, b"key", b"certificate", b"ca")
    try_out(files)
    assert {path.name: path.read_bytes() for path in files.ca.parent.iterdir()} == {
        "ca.pem": b"ca", "agent.pem": b"keycertificate",
    }
    with pytest.raises(FileExistsError):
        try_out(files._replace(identity=files.ca / "agent.pem"))


def test_a_node_whose_disk_takes_nothing_asks_for_no_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node may have few, and whoever used them up in vain would not be let in again."""
    for name in ("ca.pem", "agent.pem"):
        (tmp_path / name).write_text("nothing that TLS could use")
    (tmp_path / ".agent.pem.trial").mkdir()
    assert renew.main(["127.0.0.1:1", str(tmp_path / "ca.pem"), str(tmp_path / "agent.pem")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / '.agent.pem.trial'}: Is a directory\n"
