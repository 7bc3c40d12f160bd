"""Runs deploy/install.sh into a folder, where it needs neither root nor systemd."""

import os
import subprocess
from pathlib import Path

INSTALL = Path(__file__).parents[2] / "deploy" / "install.sh"


def install(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", INSTALL, *arguments],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def stage(root: Path, *arguments: str) -> str:
    """Run it with --root; returns what it said."""
    done = install(*arguments, "--root", str(root))
    assert done.returncode == 0, done.stderr
    return done.stdout


def add_nodes(root: Path, *names: str) -> list[Path]:
    """Stand-ins of device nodes below root/dev."""
    nodes = [root / "dev" / name for name in names]
    for node in nodes:
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
    return nodes


def add_to_pci_bus(root: Path, address: str, vendor: int) -> None:
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor:#06x}\n")


def drop_in(root: Path, name: str) -> list[str]:
    """The settings in a drop-in of the agent's unit."""
    path = root / "etc/systemd/system/fallow-agent.service.d" / f"{name}.conf"
    comment, section, *settings = path.read_text(encoding="utf-8").splitlines()
    assert comment.startswith("#")
    assert section == "[Service]"
    return settings
