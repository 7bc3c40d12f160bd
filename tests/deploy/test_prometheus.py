"""The rules for Prometheus: right by promtool, over series of a real collector, and the same as the built-in ones."""

import re
import subprocess
import tomllib
from pathlib import Path

import httpx
import pytest

from fallow_proto.metrics import METRICS
from tests.e2e.programs import Collector, Sim, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = (FOLDER / "fallow.rules.yml").read_text(encoding="utf-8")
BUILTIN = ROOT / "collector" / "fallow_collector" / "alerts" / "builtin.toml"

WHILE_THERE_IS_ONE = {"fallow_health_incidents"}
"""Families that are only there while something is wrong; tests of health read them."""


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.server("promtool")
def test_rules_and_scrape_configuration_are_valid() -> None:
    promtool("check", "rules", "--lint-fatal", str(FOLDER / "fallow.rules.yml"))
    promtool("check", "config", str(FOLDER / "prometheus.yml"))


@pytest.mark.server("promtool")
def test_rules_fire_for_the_series_that_they_are_meant_for_and_for_no_others() -> None:
    promtool("test", "rules", str(Path(__file__).parent / "rules_test.yml"))


def test_every_built_in_rule_is_mirrored_or_named_as_one_that_is_not() -> None:
    head, _, body = RULES.partition("groups:")
    mirrored = set(re.findall(r"- alert: (\w+)", body))
    rules = tomllib.loads(BUILTIN.read_text(encoding="utf-8"))["rule"]
    built_in = {rule["name"]: rule.get("severity", "warning") for rule in rules}
    lacking = set(re.findall(r"\b[A-Z]\w+", head)) & built_in.keys()
    assert mirrored - built_in.keys() == {"FallowDown", "FallowCritical"}
    assert mirrored.isdisjoint(lacking)
    assert mirrored | lacking >= built_in.keys()
    for name, severity in re.findall(r"- alert: (\w+)\n.*?severity: (\w+)", body, flags=re.DOTALL):
        assert built_in.get(name, "critical") == severity, name


def test_every_series_that_a_rule_names_is_one_of_a_real_collector(tmp_path: Path) -> None:
    collector = Collector(tmp_path, "[[alerts.receivers]]", 'name = "ops"', 'type = "webhook"', 'url = "http://127.0.0.1:9"')

    def families(path: str) -> set[str]:
        return set(re.findall(r"^# TYPE (\w+)", httpx.get(collector.url + path, trust_env=False).text, re.MULTILINE))

    with collector, Sim(tmp_path, collector.grpc, "--nodes", "1", "--devices", "1"):
        of_devices = until(
            lambda: found if "device_age_seconds" in (found := families("/metrics/devices")) else None,
            "a device is shown, and has been read",
        )
        there = until(
            lambda: found if "fallow_alerts_rules_failing" in (found := families("/metrics")) else None,
            "the rules are looked at",
        )
    assert "device_phase" in of_devices
    known = there | WHILE_THERE_IS_ONE | of_devices | {f"device_{metric.name}" for metric in METRICS}
    named = set(re.findall(r"\b(?:fallow|device)_\w+", "\n".join(expressions())))
    assert len(named) > 20
    assert named <= known, f"no such series: {sorted(named - known)}"


def expressions() -> list[str]:
    """All `expr` of the rules, those of several lines included."""
    return re.findall(r"expr: (\|\n(?:          .*\n)+|.*\n)", RULES)
