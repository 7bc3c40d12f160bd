"""The page about alerts says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

from fallow_collector.alerts.document import document
from fallow_collector.alerts.evaluate import MOST_ALERTS
from fallow_collector.alerts.rulefile import load
from fallow_collector.alerts.rulekeys import RuleKeys
from fallow_collector.alerts.schema import TABLES

PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
HEAD, _, PRINTED = PAGE.partition("What follows is printed by `python -m fallow_collector.alerts.document`.\n\n")


def test_the_page_ends_with_exactly_what_the_code_prints() -> None:
    assert document() == PRINTED


def test_the_command_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fallow_collector.alerts.document"], capture_output=True, text=True, timeout=60,
        check=True,
    )
    assert done.stdout == PRINTED


def test_every_table_and_every_built_in_rule_is_there_once() -> None:
    for name in TABLES:
        assert PRINTED.count(f"\n## Table `{name}`\n") == 1
    for rule in load([]).rules:
        assert PRINTED.count(f"\n| **{rule.name}** |") == 1


def test_its_example_is_a_file_of_rules_with_every_key(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", HEAD, flags=re.DOTALL)
    (tmp_path / "example.toml").write_text(example)
    [rule] = load([tmp_path / "example.toml"], builtin=False).rules
    assert rule.for_s == 30.0
    assert all(re.search(rf"^{key}\b", example, flags=re.MULTILINE) for key in RuleKeys.__struct_fields__)
    assert f"at most {MOST_ALERTS:,} alerts" in HEAD.replace("\n", " ")
