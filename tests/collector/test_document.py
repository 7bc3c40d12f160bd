"""The page about dispatching says what the code does."""

import subprocess
import sys
from pathlib import Path

from fallow_collector import desk
from fallow_collector.cordons import quarantine
from fallow_collector.document import MEANS, REFUSALS, document
from fallow_collector.fit.needs import NEEDS
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.leases.ledger import FAILED_FAST_S
from fallow_collector.leases.table import Command
from fallow_collector.watch.watchers import BOOKMARK_S
from fallow_proto.dispatch import HOLD_MAX_S, LEASE_TTL_MAX_S, LEASE_TTL_S, Fault

PAGE = (Path(__file__).parents[2] / "docs" / "dispatch.md").read_text()


def test_the_page_ends_with_exactly_the_tables_of_the_code() -> None:
    _, found = PAGE.split("What follows is printed by `python -m fallow_collector.document`.\n\n")
    assert found == document()


def test_the_command_prints_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fallow_collector.document"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == document()


def test_nothing_that_the_code_knows_is_left_out() -> None:
    assert set(MEANS) == set(Command)
    assert set(REFUSALS) == set(Fault)
    for need in NEEDS:
        assert document().count(f"\n| `{need.reason}` |") >= 1


def test_the_times_that_the_page_names_are_those_of_the_code() -> None:
    settings = IdleSettings()
    for name in ("confirm_s", "confirm_after_release_s", "release_stuck_s"):
        assert f"`{name}` ({getattr(settings, name):g} s)" in PAGE
    for said, seconds in (
        ("for at most 300 s", HOLD_MAX_S), ("(300 s unless", LEASE_TTL_S), ("most 2 s", desk.FENCE_S),
        ("up to 10 s", desk.CLOCK_S), ("within 120 s", FAILED_FAST_S), ("every 10 s", BOOKMARK_S),
    ):
        assert f"{seconds:g} s" in said
        assert said in PAGE
    assert "at most a day" in PAGE
    assert LEASE_TTL_MAX_S == 86_400
    assert "three of them within 15 minutes" in PAGE
    assert (quarantine.FAILURES, quarantine.WITHIN_S) == (3, 15 * 60)
