"""The page about idle says what the code does."""

import subprocess
import sys
from pathlib import Path

from fallow_collector.idle.document import document
from fallow_collector.idle.phase import TABLE
from fallow_collector.idle.reasons import REASONS
from fallow_collector.idle.settings import IdleSettings

PAGE = (Path(__file__).parents[3] / "docs" / "idle.md").read_text()


def test_the_page_ends_with_exactly_the_tables_of_the_code() -> None:
    head, found = PAGE.split("What follows is printed by `python -m fallow_collector.idle.document`.\n\n")
    assert found == document()
    assert "\n| " not in head


def test_the_command_prints_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fallow_collector.idle.document"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == document()


def test_every_row_is_there_once() -> None:
    for reason in REASONS:
        assert document().count(f"\n| `{reason.name}` |") == 1
    assert sum(line.startswith(tuple(f"| {n} | **" for n in range(1, 100))) for line in document().splitlines()) == len(
        TABLE
    )


def test_the_defaults_that_the_page_names_are_those_of_the_code() -> None:
    settings = IdleSettings()
    for name, shown in (
        ("confirm_s", "(60 s)"), ("confirm_readings", "(10)"), ("evidence_s", "(120 s)"),
        ("confirm_after_release_s", "(10 s)"),
    ):
        assert f"`{name}` {shown}" in PAGE
        assert f"({getattr(settings, name):g}" == shown.removesuffix(")").removesuffix(" s")
