"""Both services under a real systemd, from their installation to their removal, on one machine and so in this order."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.deploy.booted.services import AGENT, BOARDS, COLLECTOR, PROGRAMS, WATCHDOG_S, Services
from tests.e2e.programs import until
from tests.simulators.nvml.scenario import Hang

pytestmark = pytest.mark.server("mmdebstrap", "systemd-nspawn", "cc")

CAP_SYSLOG = 34  # linux/capability.h
VERSION_MISMATCH = 18  # of NVML: the kernel has another driver than the library is of

both = pytest.mark.parametrize("unit", PROGRAMS)


def test_both_services_start_and_say_how_they_are(installed: Services) -> None:
    installed.wait_for_status(AGENT, f"streaming, {BOARDS + 1} devices")
    installed.wait_for_status(COLLECTOR, f"1 agents, {BOARDS + 1} devices")
    for unit, program in PROGRAMS.items():
        assert "Status: " in installed.machine.run("systemctl", "status", "--no-pager", unit)
        assert f"{program} started" in installed.machine.journal(unit)
        assert installed.restarts(unit) == 0
        assert installed.machine.show(unit, "User") == "fallow"


def test_the_agent_of_a_node_with_nvidia_may_read_the_kernels_log_and_nothing_else(installed: Services) -> None:
    effective = installed.machine.run("grep", "CapEff", f"/proc/{installed.pid(AGENT)}/status").split()[1]
    assert int(effective, 16) == 1 << CAP_SYSLOG


def test_what_the_agent_uses_is_far_below_its_caps(installed: Services) -> None:
    """They are not enforced in here."""
    assert installed.machine.show(AGENT, "CPUQuotaPerSecUSec") == "500ms"
    assert int(installed.machine.show(AGENT, "MemoryMax")) == 256 * 2**20
    assert installed.machine.show(AGENT, "OOMPolicy") == "continue"
    high = int(installed.machine.show(AGENT, "MemoryHigh"))
    assert 0 < installed.memory_bytes(AGENT) < high / 2


def test_killed_they_come_back_with_leases_and_idle_boards(installed: Services) -> None:
    lease = installed.fallow("reserve")
    before = {unit: installed.restarts(unit) for unit in PROGRAMS}
    for unit in PROGRAMS:
        installed.signal(unit, "KILL")
    for unit in PROGRAMS:
        installed.wait_for_restart(unit, before[unit])
    installed.wait_for_idle(BOARDS - 1)
    assert [each["lease_id"] for each in installed.fallow("leases")["items"]] == [lease["lease_id"]]
    installed.release(lease)


@both
def test_a_service_that_is_stuck_is_restarted_and_says_where_it_was(installed: Services, unit: str) -> None:
    before = installed.restarts(unit)
    installed.signal(unit, "STOP")
    installed.wait_for_journal(unit, f"Watchdog timeout (limit {WATCHDOG_S}s)")
    installed.wait_for_restart(unit, before)
    assert "Fatal Python error: Aborted" in installed.machine.journal(unit)
    installed.wait_for_idle(BOARDS)


def test_a_driver_that_hangs_is_no_reason_to_restart_the_agent(installed: Services) -> None:
    agent, restarts = installed.pid(AGENT), installed.restarts(AGENT)
    installed.driver.play(replace(installed.driver.scenario, faults={"*": Hang()}))
    installed.wait_for_journal(AGENT, "reader_stuck")
    judged = installed.judged()
    reports = 2 * WATCHDOG_S + 2  # one a second: two periods of the watchdog go by
    until(lambda: installed.judged() >= judged + reports, "reports go on")
    assert (installed.pid(AGENT), installed.restarts(AGENT)) == (agent, restarts)
    assert installed.idle() == 0, "nothing that is not known is idle"
    installed.driver.play(replace(installed.driver.scenario, faults={}))
    installed.wait_for_idle(BOARDS)
    assert installed.pid(AGENT) == agent


def test_the_agent_survives_that_its_driver_is_exchanged(installed: Services) -> None:
    agent = installed.pid(AGENT)
    installed.driver.play(replace(installed.driver.scenario, faults={"*": VERSION_MISMATCH}))
    installed.wait_for_journal(AGENT, "driver_unloaded")
    until(lambda: installed.idle() == 0, "its boards are not offered")
    installed.driver.play(replace(installed.driver.scenario, faults={}, driver_version="590.10"))
    installed.wait_for_journal(AGENT, "driver 590.10 is loaded")
    installed.wait_for_idle(BOARDS)
    assert installed.pid(AGENT) == agent


def test_a_restart_takes_back_what_was_known(installed: Services) -> None:
    before = {unit: installed.pid(unit) for unit in PROGRAMS}
    installed.machine.systemctl("restart", *PROGRAMS)
    assert all(installed.pid(unit) != pid for unit, pid in before.items())
    installed.wait_for_idle(BOARDS)


def test_an_upgrade_restarts_both_with_their_configuration_and_leases(installed: Services) -> None:
    lease = installed.fallow("reserve")
    configuration = Path(installed.machine.root, "etc/fallow/agent.toml")
    mine = configuration.read_text(encoding="utf-8") + "# ours\n"
    configuration.write_text(mine, encoding="utf-8")
    before = {unit: installed.pid(unit) for unit in PROGRAMS}
    installed.install("next")
    for unit, pid in before.items():
        assert installed.pid(unit) != pid
        assert "99.0" in installed.machine.run(f"/opt/fallow/bin/{unit}", "--version")
    assert configuration.read_text(encoding="utf-8") == mine
    installed.wait_for_idle(BOARDS - 1)
    [node] = installed.fallow("nodes")["items"]
    assert node["agent_version"] == "99.0"
    installed.release(lease)


def test_a_stopped_agent_has_handed_over_what_it_read(installed: Services) -> None:
    installed.wait_for_status(AGENT, "streaming")
    installed.machine.systemctl("stop", AGENT)
    assert installed.ending(AGENT) == ("success", "0")
    assert installed.spooled() == 0


def test_an_agent_without_its_collector_stops_at_once_and_keeps_what_it_read(installed: Services) -> None:
    installed.machine.systemctl("start", AGENT)
    installed.wait_for_status(AGENT, "streaming")
    installed.machine.systemctl("stop", COLLECTOR)
    assert installed.ending(COLLECTOR) == ("success", "0")
    installed.wait_for_status(AGENT, "waiting")
    installed.machine.systemctl("stop", AGENT)
    assert installed.ending(AGENT) == ("success", "0")
    assert installed.spooled() > 0
    installed.machine.systemctl("start", *PROGRAMS)


def test_removed_and_purged_they_leave_nothing(installed: Services) -> None:
    installed.install_sh("uninstall", "agent")
    assert installed.machine.run("systemctl", "is-active", COLLECTOR).strip() == "active"
    assert Path(installed.machine.root, "var/lib/fallow/agent/spool.sqlite").exists()
    installed.install_sh("uninstall", "agent", "--purge")
    installed.install_sh("uninstall", "collector", "--purge")
    left = installed.machine.run("find", "/etc", "/opt", "/run", "/usr", "/var", "-xdev", "-iname", "*fallow*")
    assert left.split() == []
    assert "fallow" not in Path(installed.machine.root, "etc/passwd").read_text()
    assert installed.machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "fallow*") == ""
