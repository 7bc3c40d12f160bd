"""Reading beside others who read."""

import os
from pathlib import Path

from fallow_agent.once import _own_run_dir
from tests.agent.users import another_user, open_folder


def test_a_lock_folder_that_another_user_made_is_not_used() -> None:
    with open_folder() as folder:
        with _own_run_dir(folder) as roots:
            assert roots == folder / "once"
        with another_user(), _own_run_dir(folder) as own:
            assert own != roots
            assert os.access(own, os.W_OK)
        assert not own.exists()


def test_its_own_lock_folder_is_used_again(tmp_path: Path) -> None:
    with _own_run_dir(tmp_path) as first, _own_run_dir(tmp_path) as second:
        assert first == second
