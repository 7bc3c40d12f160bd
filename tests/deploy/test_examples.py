"""The example configurations are the reference of all keys, so they must name each one, with its real default."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

import fallow_agent.config
import fallow_collector.config
from fallow_proto.settings import load
from tests.e2e.programs import BIN, environment

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES = [
    pytest.param("agent.toml", fallow_agent.config.Settings, fallow_agent.config.PREFIX, id="agent"),
    pytest.param("collector.toml", fallow_collector.config.Settings, fallow_collector.config.PREFIX, id="collector"),
]


@pytest.mark.parametrize(("name", "kind", "prefix"), EXAMPLES)
def test_an_example_says_what_holds_without_it(name: str, kind: type[msgspec.Struct], prefix: str) -> None:
    assert load(kind, DEPLOY / name, prefix, {}) == load(kind, None, prefix, {})


@pytest.mark.parametrize(("name", "kind", "prefix"), EXAMPLES)
def test_an_example_names_every_key(name: str, kind: type[msgspec.Struct], prefix: str) -> None:
    document = tomllib.loads((DEPLOY / name).read_text(encoding="utf-8"))
    assert sorted(keys_of_table(document)) == sorted(keys_of_struct(kind))


@pytest.mark.parametrize(("name", "kind", "prefix"), EXAMPLES)
def test_a_comment_stands_above_every_key_or_group_of_keys(
    name: str, kind: type[msgspec.Struct], prefix: str
) -> None:
    lines = (DEPLOY / name).read_text(encoding="utf-8").splitlines()
    naked = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if line and not line.startswith(("#", "[")) and (not above or above.startswith("["))
    ]
    assert naked == []


def test_the_thresholds_of_one_model_can_be_set_as_the_comment_says(tmp_path: Path) -> None:
    text = (DEPLOY / "collector.toml").read_text(encoding="utf-8")
    found = re.search(r"#   (\[\[idle\.models\]\]\n(?:#   .*\n)+)", text)
    assert found is not None
    path = tmp_path / "collector.toml"
    path.write_text(text.replace("\nmodels = []\n", "\n") + "\n" + found[1].replace("#   ", ""), encoding="utf-8")
    settings = load(fallow_collector.config.Settings, path, fallow_collector.config.PREFIX, {})
    assert settings.idle.by_model()["Tesla T4"].utilization_off_ratio == 0.08


@pytest.mark.parametrize("program", ["agent", "collector"])
def test_the_program_itself_finds_an_example_good(program: str, tmp_path: Path) -> None:
    checked = subprocess.run(
        [BIN / f"fallow-{program}", "--config", DEPLOY / f"{program}.toml", "--check"],
        env=environment(
            FALLOW_COLLECTOR_STATE__DIR=str(tmp_path),
            FALLOW_COLLECTOR_GRPC__LISTEN="127.0.0.1:0",
            FALLOW_COLLECTOR_HTTP__LISTEN="127.0.0.1:0",
        ),
        capture_output=True, text=True, check=False, timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def keys_of_table(table: dict[str, object], above: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from keys_of_table(value, f"{above}{key}.")
        else:
            yield above + key


def keys_of_struct(kind: type[msgspec.Struct], above: str = "") -> Iterator[str]:
    for key, inner in get_type_hints(kind).items():
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from keys_of_struct(inner, f"{above}{key}.")
        else:
            yield above + key
