"""What a booted machine is made of: a Debian root with systemd and Python, Fallow's wheels, and what they depend on."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
DEADLINE_S = 300.0
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
"""The mirror that this machine itself uses, in the first of them that there is."""

_PROJECT = ("agent", "client", "collector", "proto", "README.md", "pyproject.toml")


class CannotMakeRoot(Exception):
    """The mirror does not answer, or this machine does not let us."""


def make_root(root: Path) -> None:
    """This machine's own release of Debian, half a minute. Raises CannotMakeRoot."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    sources = [str(path) for path in SOURCES if path.exists()][:1]
    done = _run(
        "mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd-sysv,python3-venv",
        "--aptopt=Acquire::Languages none", "--aptopt=Acquire::Retries 3", "--dpkgopt=force-unsafe-io",
        suite, str(root), *sources,
    )
    if done.returncode != 0:
        raise CannotMakeRoot(f"mmdebstrap ended with {done.returncode}: {done.stderr[-2000:]}")


def python_of(root: Path) -> str:
    """E.g. "3.11"."""
    [program] = [path.name for path in root.glob("usr/bin/python3.*") if re.fullmatch(r"python3\.\d+", path.name)]
    return program.removeprefix("python")


def download(folder: Path, python: str) -> None:
    """What the collector's lock names, and so what the agent's does."""
    lock = REPOSITORY / "requirements" / "collector.lock"
    _pip("download", "--require-hashes", "--only-binary", ":all:", "--python-version", python, "-d", folder, "-r", lock)


def build_wheel(folder: Path, version: str = "") -> Path:
    """Of the working tree; `version` makes another release of it."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for name in _PROJECT:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, tree)
    if version:
        project = tree / "pyproject.toml"
        text = project.read_text(encoding="utf-8")
        project.write_text(re.sub(r'^version = ".*"$', f'version = "{version}"', text, flags=re.MULTILINE))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, tree)
    shutil.rmtree(tree)
    [wheel] = folder.glob("fallow-*.whl")
    return wheel


def _pip(command: str, *arguments: str | Path) -> None:
    done = _run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", command, *map(str, arguments))
    assert done.returncode == 0, done.stderr


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
