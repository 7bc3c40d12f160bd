"""Documents that cannot drift: what the README names is there, and what is there is named."""

import re
import tomllib
from pathlib import Path

from fallow_client.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readme_names_every_target_that_a_newcomer_needs() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", README))
    assert {"demo", "test", "check", "bench"} <= named <= targets


def test_every_file_and_folder_that_the_readme_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    code = re.findall(r"`((?:agent|client|collector|deploy|proto|tests|bench|idle)/[\w./]*)`", README)
    for name in [*links, *code]:
        places = [ROOT / name, ROOT / "collector" / "fallow_collector" / name]
        assert any(place.exists() for place in places), name


def test_the_changelog_names_every_command_of_fallow() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for command in COMMANDS:
        assert re.search(rf"\b{command.name}\b", changelog), command.name


def test_packages_that_ci_installs_are_named_in_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    packages = set(re.search(r"PACKAGES=\((.*?)\)", script, flags=re.DOTALL).group(1).split())  # type: ignore[union-attr]
    assert packages - {"python3-venv", "make", "procps"} <= set(re.findall(r"[\w-]+", README))


def test_locked_dependencies_name_no_index_and_have_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.lock"):
        text = path.read_text()
        assert "://" not in text, path
        pins = re.findall(r"^[\w.\[\]-]+==", text, flags=re.MULTILINE)
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)


def test_every_program_of_the_package_is_in_the_readme() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for script in scripts:
        assert f"`{script}" in README or f"{script} " in README, script
