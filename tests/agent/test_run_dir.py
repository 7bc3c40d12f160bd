"""Where the locks of readers live on a machine that nobody prepared."""

from pathlib import Path

from fallow_agent.run_dir import chosen
from tests.agent.users import another_user, open_folder


def test_a_folder_that_is_there_or_can_be_made_is_used(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "fallow"):
        assert chosen(str(folder), "/run/user/1000", default=str(folder)) == folder


def test_a_plain_user_on_a_machine_without_the_service_has_their_own() -> None:
    with open_folder() as run, another_user():
        missing = str(run / "fallow")
        assert chosen(missing, "/run/user/1000", default=missing) == Path("/run/user/1000/fallow")
        assert chosen(missing, "", default=missing) == Path(missing), "there is no other"
        assert chosen(missing, "/run/user/1000") == Path(missing), "it was set on purpose"


def test_where_a_service_has_its_locks_a_plain_user_gets_no_others() -> None:
    with open_folder() as run:
        service = run / "fallow"
        service.mkdir(mode=0o700)
        with another_user():
            assert chosen(str(service), "/run/user/1000", default=str(service)) == service
