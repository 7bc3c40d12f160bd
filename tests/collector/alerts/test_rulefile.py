"""Files of rules: what they become, and every fault in them with its line."""

from pathlib import Path

import pytest

from fallow_collector.alerts.lines import Lines
from fallow_collector.alerts.rule import Inhibition, RuleError, Severity
from fallow_collector.alerts.rulefile import RuleSet, load

GOOD = """
[[rule]]
name = "Hot"
expr = "temperature_celsius > 85"
for_s = 30
keep_s = 60.5
severity = "critical"
labels = { team = "hpc" }
annotations.summary = "$uuid of $team: $temperature_celsius °C, 100 $$"

[[rule]]
name = "Full"
over = "node"
expr = '''
seen
  AND spool_pending > 5'''

[[inhibit]]
source = ['alertname="Hot"']
target = ['alertname=~"Full|Other"', "severity=info"]
equal = ["node"]
"""


def loaded(folder: Path, text: str, builtin: bool = False) -> RuleSet:
    (folder / "own.toml").write_text(text)
    return load([folder / "own.toml"], builtin)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(RuleError) as refused:
        loaded(folder, text)
    return [line.removeprefix(f"{folder}/") for line in str(refused.value).split("\n")]


def test_a_file_becomes_rules_and_inhibitions(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD)
    hot, full = found.rules
    assert (hot.name, hot.over, hot.for_s, hot.keep_s, hot.severity) == ("Hot", "device", 30.0, 60.5, Severity.CRITICAL)
    assert hot.labels == {"team": "hpc"}
    assert hot.annotations["summary"].substitute(uuid="u", team="t", temperature_celsius="9") == "u of t: 9 °C, 100 $"
    assert hot.where == f"{tmp_path}/own.toml:2"
    assert (full.over, full.for_s, full.severity, full.annotations) == ("node", 0.0, Severity.WARNING, {})
    assert found.inhibitions == (Inhibition(
        ('alertname="Hot"',), ('alertname=~"Full|Other"', "severity=info"), ("node",), f"{tmp_path}/own.toml:18"
    ),)


RULE = '[[rule]]\nname = "R"\nexpr = "power_watts > 1"\n'


@pytest.mark.parametrize(("text", "found"), [
    ('[[rule]]\nname = "R"\nexpr = "power_wats > 1"',
     "own.toml:3: rule 'R': expr: 'power_wats > 1': at character 1: table 'device' has no column 'power_wats'; did you "
     "mean power_watts?"),
    ('[[rule]]\nname = "R"\nexpr = "power_watts / 0 > 1"',
     "own.toml:3: rule 'R': expr: 'power_watts / 0 > 1': at character 15: divides by zero, which is never known"),
    ('[[rule]]\nname = "R"\nexpr = "phase > 1"',
     "own.toml:3: rule 'R': expr: 'phase > 1': at character 9: 1 is a number, expected text"),
    ('[[rule]]\nname = "R"\n', "own.toml:1: rule 'R': expr: is missing"),
    ('# x\n[[rule]]\nexpr = "power_watts > 1"', "own.toml:2: rule: name: is missing"),
    (RULE + 'four_s = 3',
     "own.toml:4: rule 'R': four_s: unknown key; there is no 'four_s', did you mean for_s?; expected one of name, "
     "expr, over, for_s, keep_s, severity, labels, annotations"),
    (RULE + "for_s = -1", "own.toml:4: rule 'R': for_s: -1, expected 0 to 2592000 seconds"),
    (RULE + "keep_s = nan", "own.toml:4: rule 'R': keep_s: nan, expected 0 to 2592000 seconds"),
    (RULE + 'for_s = "1m"', "own.toml:4: rule 'R': for_s: '1m': Expected `float`, got `str`"),
    (RULE + 'severity = "bad"', "own.toml:4: rule 'R': severity: 'bad', expected one of none, info, warning, critical"),
    (RULE + 'over = "devices"',
     "own.toml:4: rule 'R': over: there is no 'devices', did you mean device?; expected one of device, node, reader, "
     "incident, group, ledger, collector"),
    (RULE + 'labels = { 1a = "x" }',
     "own.toml:4: rule 'R': labels.1a: '1a', expected letters, digits and _, no digit first"),
    (RULE + '[rule.labels]\nteam = "x"\nnode = "x"',
     "own.toml:6: rule 'R': labels.node: every alert of this rule has a label 'node' already; expected another name "
     "than alertname, class, model, node, severity, site, uuid, vendor"),
    (RULE + 'labels.team = ""', "own.toml:4: rule 'R': labels.team: '', expected 1 to 2,000 printable characters"),
    (RULE + 'annotations.summary = "$uid is hot"',
     "own.toml:4: rule 'R': annotations.summary: $uid: there is no 'uid', did you mean uuid?; expected a label or a "
     "column of 'device'"),
    (RULE + '[rule.annotations]\nsummary = "5 $ of it"',
     "own.toml:5: rule 'R': annotations.summary: '5 $ of it': a $ that no name follows; expected $name, ${name}, or $$ "
     "for a dollar sign"),
    (RULE + RULE,
     "own.toml:4: rule 'R': another rule is called so, in own.toml:1; expected a name of its own for each"),
    ('[[rule]]\nname = ""\nexpr = "power_watts > 1"',
     "own.toml:2: rule '': name: '', expected 1 to 128 printable characters"),
    ('[[rules]]\nname = "R"',
     "own.toml:1: there is no 'rules', did you mean rule?; expected [[rule]] and [[inhibit]] tables"),
    ('[rule]\nname = "R"', "own.toml: rule is not written as [[rule]]; expected [[rule]] and [[inhibit]] tables"),
    ('rule = [{ name = "R" }]', "own.toml: rule 1: rule 'R': expr: is missing"),
    ('[[rule]]\nname = R', "own.toml: is not TOML: Invalid value (at line 2, column 8)"),
    ('[[inhibit]]\nsource = ["alertname"]\ntarget = ["severity=info"]',
     "own.toml:2: inhibit: source: matcher 'alertname' is none; expected a label, one of = != =~ !~, and a value, such "
     'as node="n1"'),
    ('[[inhibit]]\nsource = []\ntarget = ["severity=info"]',
     "own.toml:2: inhibit: source: is empty, expected matchers such as 'alertname=\"NodeLost\"'"),
    ('[[inhibit]]\nsource = ["a=b"]\ntarget = ["severity=info"]\nequal = ["a-b"]',
     "own.toml:4: inhibit: equal: 'a-b' is no name of a label, expected such as node"),
])
def test_a_fault_is_named_with_file_and_line(text: str, found: str, tmp_path: Path) -> None:
    assert [fault.replace(f"{tmp_path}/", "") for fault in faults(tmp_path, text)] == [found]


def test_all_faults_of_all_files_are_told_and_nothing_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(RULE + "for_s = -1\nfour_s = 3\n" + RULE.replace("power", "pwr"))
    (tmp_path / "b.toml").write_text(RULE)
    (tmp_path / "c.toml").write_bytes(b"\xff")
    with pytest.raises(RuleError) as refused:
        load([tmp_path / name for name in ("a.toml", "b.toml", "c.toml", "d.toml")])
    told = [line.removeprefix(f"{tmp_path}/").partition(": ")[0] for line in str(refused.value).split("\n")]
    assert told == ["a.toml:5", "a.toml:4", "a.toml:8", "c.toml", "d.toml"]
    assert f"{tmp_path}/c.toml: line 1: is not UTF-8: invalid start byte; expected TOML, which is" in str(refused.value)
    assert f"{tmp_path}/d.toml: cannot be read: No such file or directory; expected a TOML file" in str(refused.value)


@pytest.mark.parametrize(("text", "found"), [
    ("#" * (1 << 20) + "\n", "own.toml: is longer than 1,048,576 bytes; expected a TOML file of rules"),
    ("x = " + "[" * 5000,
     "own.toml: is not TOML that can be read: tables or lists stand too deep within each other"),
])
def test_a_file_that_would_keep_us_busy_is_refused(text: str, found: str, tmp_path: Path) -> None:
    assert faults(tmp_path, text) == [found]


def test_an_own_rule_takes_the_place_of_the_built_in_one(tmp_path: Path) -> None:
    shipped = load([])
    found = loaded(tmp_path, RULE.replace('"R"', '"DeviceHot"'), builtin=True)
    assert len(found.rules) == len(shipped.rules)
    [hot] = [rule for rule in found.rules if rule.name == "DeviceHot"]
    assert hot.expr == "power_watts > 1"
    assert found.inhibitions == shipped.inhibitions


def test_without_the_built_in_ones_there_are_none(tmp_path: Path) -> None:
    assert load([], builtin=False) == RuleSet((), ())


def test_a_text_of_several_lines_hides_what_is_in_it() -> None:
    first = '[[rule]]\nexpr = """\n[[rule]]\nname = 1\n"""\nname = "R"\n'
    lines = Lines(first + "[[rule]]\nname = \'\'\'x\'\'\'\n\"for_s\" = 1\n")
    assert lines.of("rule", 0) == 1
    assert lines.of("rule", 0, "name") == 6
    assert lines.of("rule", 1, "name") == 8
    assert lines.of("rule", 1, "for_s") == 9
    assert lines.of("rule", 1, "labels.team") == 7
    assert lines.of("rule", 2) is None
    assert lines.of("inhibit", 0) is None
