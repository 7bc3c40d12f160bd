import grp
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.deploy.staged import add_nodes, add_to_pci_bus, drop_in, install, stage

DEPLOY = Path(__file__).parents[2] / "deploy"
LOCKS = DEPLOY.parent / "requirements"
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin")


def laid_out(root: Path) -> dict[str, int]:
    """Every file below root but its devices, with its mode."""
    return {
        str(path.relative_to(root)): path.stat().st_mode & 0o777
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in ("dev", "sys")
    }


def test_an_agent_without_devices_is_a_unit_and_a_configuration_that_others_cannot_read(tmp_path: Path) -> None:
    stage(tmp_path, "agent")
    assert laid_out(tmp_path) == {
        "etc/systemd/system/fallow-agent.service": 0o644,
        "etc/fallow/agent.toml": 0o640,
    }
    assert (tmp_path / "etc/fallow/agent.toml").read_text() == (DEPLOY / "agent.toml").read_text()


def test_a_collector_gets_no_devices(tmp_path: Path) -> None:
    add_nodes(tmp_path, "nvidia0", "nvidiactl")
    stage(tmp_path, "collector")
    assert laid_out(tmp_path) == {
        "etc/systemd/system/fallow-collector.service": 0o644,
        "etc/fallow/collector.toml": 0o640,
    }


def test_the_unit_starts_the_program_where_it_was_installed(tmp_path: Path) -> None:
    stage(tmp_path, "collector", "--prefix", "/srv/fallow-1.2")
    unit = (tmp_path / "etc/systemd/system/fallow-collector.service").read_text()
    assert "\nExecStart=/srv/fallow-1.2/bin/fallow-collector --config /etc/fallow/collector.toml\n" in unit


def test_a_configuration_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    stage(tmp_path, "agent")
    mine = tmp_path / "etc/fallow/agent.toml"
    mine.write_text('site = "berlin"\n')
    assert "stays as it is" in stage(tmp_path, "agent")
    assert mine.read_text() == 'site = "berlin"\n'


def test_nvidia_devices_are_let_in_by_the_names_of_all_driver_generations(tmp_path: Path) -> None:
    add_nodes(tmp_path, "nvidia0", "nvidia1", "nvidiactl", "nvidia-caps/nvidia-cap1")
    stage(tmp_path, "agent")
    assert "DeviceAllow=char-nvidia* rw" in drop_in(tmp_path, "nvidia")


def test_on_a_node_of_nvidia_the_agent_may_read_the_kernels_log(tmp_path: Path) -> None:
    add_nodes(tmp_path, "nvidia0")
    stage(tmp_path, "agent")
    assert set(drop_in(tmp_path, "kernel-log")) == {
        "DeviceAllow=/dev/kmsg r", "ProtectKernelLogs=no", "CapabilityBoundingSet=CAP_SYSLOG",
        "AmbientCapabilities=CAP_SYSLOG",
    }


def test_a_board_on_the_bus_whose_driver_is_not_loaded_is_let_in_and_said(tmp_path: Path) -> None:
    add_to_pci_bus(tmp_path, "0000:17:00.0", 0x10DE)
    assert "load its driver" in stage(tmp_path, "agent")
    assert drop_in(tmp_path, "nvidia") == ["DeviceAllow=char-nvidia* rw"]


def test_a_board_of_nobody_known_changes_nothing(tmp_path: Path) -> None:
    add_to_pci_bus(tmp_path, "0000:00:02.0", 0x1AF4)
    add_nodes(tmp_path, "dri/renderD128", "null")
    stage(tmp_path, "agent")
    assert not (tmp_path / "etc/systemd/system/fallow-agent.service.d").exists()


def test_ascend_devices_are_let_in_one_by_one(tmp_path: Path) -> None:
    add_nodes(tmp_path, "davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc")
    stage(tmp_path, "agent")
    allowed = [line for line in drop_in(tmp_path, "ascend") if line.startswith("DeviceAllow=")]
    assert allowed == [
        f"DeviceAllow=/dev/{name} rw" for name in ("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc")
    ]


def test_boards_of_the_kfd_driver_are_let_in_with_their_render_nodes(tmp_path: Path) -> None:
    add_nodes(tmp_path, "kfd", "dri/renderD128")
    stage(tmp_path, "agent")
    assert {"DeviceAllow=char-kfd rw", "DeviceAllow=char-drm rw"} <= set(drop_in(tmp_path, "kfd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to any group")
def test_the_agent_joins_each_group_that_owns_a_device_once_and_never_root(tmp_path: Path) -> None:
    nodes = add_nodes(tmp_path, "nvidia0", "nvidia1", "nvidia2", "nvidiactl")
    for node, group in zip(nodes, ("video", "video", "audio", "root"), strict=True):
        os.chown(node, -1, group_id(group))
    stage(tmp_path, "agent")
    assert drop_in(tmp_path, "nvidia") == [
        "DeviceAllow=char-nvidia* rw", "SupplementaryGroups=audio", "SupplementaryGroups=video",
    ]


def test_uninstalling_leaves_configuration_and_state(tmp_path: Path) -> None:
    add_nodes(tmp_path, "nvidia0")
    stage(tmp_path, "agent")
    spool = tmp_path / "var/lib/fallow/agent/spool.sqlite"
    spool.parent.mkdir(parents=True)
    spool.touch(0o600)
    stage(tmp_path, "uninstall", "agent")
    assert laid_out(tmp_path) == {"etc/fallow/agent.toml": 0o640, "var/lib/fallow/agent/spool.sqlite": 0o600}
    assert not (tmp_path / "etc/systemd/system/fallow-agent.service.d").exists()


def test_purging_both_programs_leaves_no_folder_but_those_of_others(tmp_path: Path) -> None:
    for program in ("agent", "collector"):
        stage(tmp_path, program)
    (tmp_path / "var/lib/fallow/mine").mkdir(parents=True)
    for program in ("agent", "collector"):
        stage(tmp_path, "uninstall", program, "--purge")
    assert not (tmp_path / "etc/fallow").exists()
    assert (tmp_path / "var/lib/fallow/mine").exists()


def test_purging_one_program_leaves_the_other(tmp_path: Path) -> None:
    programs = tmp_path / "opt/fallow"
    (programs / "bin").mkdir(parents=True)
    (programs / "pyvenv.cfg").touch()
    for program in ("agent", "collector"):
        (programs / "bin" / f"fallow-{program}").touch()
        stage(tmp_path, program)
    stage(tmp_path, "uninstall", "agent", "--purge")
    assert programs.exists()
    assert (tmp_path / "etc/fallow/collector.toml").exists()
    assert not (tmp_path / "etc/fallow/agent.toml").exists()
    stage(tmp_path, "uninstall", "collector", "--purge")
    assert laid_out(tmp_path) == {}
    assert not programs.exists()


def test_a_prefix_that_holds_something_else_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/fallow-agent").touch()
    stage(tmp_path, "uninstall", "agent", "--prefix", "/usr")
    assert (tmp_path / "usr/bin/fallow-agent").exists()


@pytest.mark.skipif(SYSTEM_PYTHON is None, reason="the system has no Python of its own: apt-get install python3")
def test_a_dry_run_says_all_steps_in_order_and_does_none(tmp_path: Path) -> None:
    wheel = tmp_path / "fallow-1.2.3-py3-none-any.whl"
    wheel.touch()
    prefix = tmp_path.name  # a name that nothing else has
    done = install("agent", "--dry-run", "--wheel", str(wheel), "--prefix", f"/opt/{prefix}",
                   PYTHON=str(SYSTEM_PYTHON))
    assert done.returncode == 0, done.stderr
    steps = ["-m venv", "--require-hashes", str(wheel), "write /etc/systemd/system/fallow-agent.service"]
    assert sorted(steps, key=done.stdout.index) == steps
    assert not Path("/opt", prefix).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage:"),
        (["proxy"], "usage:"),
        (["agent", "--prefx", "/opt/x"], "unknown argument --prefx"),
        (["agent", "--prefix"], "--prefix needs a value"),
        (["agent", "--prefix", "opt/fallow"], "expected an absolute path"),
        (["agent", "--prefix", "/opt/a b"], "expected an absolute path"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_done(arguments: list[str], said: str) -> None:
    done = install(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_a_missing_wheel_is_named_before_anything_is_installed() -> None:
    done = install("agent", "--dry-run", "--wheel", "/nowhere/fallow.whl")
    assert done.returncode == 1
    assert "--wheel /nowhere/fallow.whl: there is no such file" in done.stderr


def test_a_prefix_that_the_sandbox_hides_is_refused() -> None:
    done = install("agent", "--dry-run", "--prefix", "/home/me/fallow")
    assert done.returncode == 1
    assert "the services' sandbox hides that folder" in done.stderr


def test_an_interpreter_that_the_sandbox_hides_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "fallow-1.2.3-py3-none-any.whl"
    wheel.touch()
    mine = tmp_path / "python3"
    mine.write_text('#!/bin/sh\ncase $2 in *base_prefix*) echo /home/me/.pyenv/versions/3.11.7;; esac\n')
    mine.chmod(0o755)
    done = install("agent", "--dry-run", "--wheel", str(wheel), "--prefix", f"/opt/{tmp_path.name}", PYTHON=str(mine))
    assert done.returncode == 1
    assert "set PYTHON to one that is not" in done.stderr


def test_both_programs_are_locked_to_the_same_versions_because_they_share_an_environment() -> None:
    assert pins("agent") <= pins("collector")


def pins(program: str) -> set[str]:
    lock = (LOCKS / f"{program}.lock").read_text(encoding="utf-8")
    return set(re.findall(r"^\S+==\S+", lock, re.MULTILINE))


def group_id(name: str) -> int:
    return grp.getgrnam(name).gr_gid
