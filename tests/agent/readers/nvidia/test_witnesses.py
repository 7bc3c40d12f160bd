"""NVML and the kernel's log tell a real agent of the same fault."""

from pathlib import Path

import pytest

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.kmsg import Kmsg
from tests.agent.process import AgentProcess, configuration
from tests.simulators.nvml.scenario import Event, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

BOARD = h100(0)  # at 0000:17:00.0
FALLEN = "NVRM: Xid (PCI:0000:17:00): 79, pid=7, name=python, GPU has fallen off the bus."
SWITCH = "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress"


def configure(folder: Path, collector: str, kernel_log: str) -> None:
    text = configuration(folder, collector)
    text = text.replace('["host"]', '["nvidia"]').replace('kernel_log = ""', f'kernel_log = "{kernel_log}"')
    (folder / "agent.toml").write_text(text)


def faults(collector: Collector) -> list[pb.Event]:
    """The newest word of each, in order of their ids."""
    newest = {event.id: event for event in collector.events() if event.kind in ("xid", "sxid")}
    return [newest[name] for name in sorted(newest, key=int)]


def test_a_fault_heard_from_both_is_one_event_and_no_news_to_the_next_run(nvml: Simulator, tmp_path: Path) -> None:
    nvml.play(Scenario((BOARD,)))
    for run in (1, 2):
        kmsg = Kmsg()
        kmsg.say("Linux version 6.8", stamp=0.0)
        kmsg.say(SWITCH, stamp=0.5)
        with Collector() as collector:
            configure(tmp_path, collector.address, kmsg.path)
            with AgentProcess(tmp_path, collector.address, environment=nvml.environment) as agent:
                agent.wait_until_ready()
                wait_for(lambda: bool(collector.reports()), "a report")
                if run == 2:
                    kmsg.say(FALLEN)  # its number says that the first run has told it
                    kmsg.say(FALLEN.replace(": 79,", ": 13,"))
                    wait_for(lambda: bool(faults(collector)), "what is new")
                    assert [(event.code, event.count) for event in faults(collector)] == [(13, 1)]
                else:
                    wait_for(lambda: [event.kind for event in faults(collector)] == ["sxid"], "what was before")
                    wait_for(lambda: nvml.calls().get("nvmlEventSetWait_v2", 0) > 0, "it listens")
                    nvml.happen(Event(8, 79, BOARD.uuid))
                    wait_for(lambda: len(faults(collector)) == 2, "NVML's word")
                    kmsg.say(FALLEN)
                    wait_for(lambda: faults(collector)[1].source == "kernel", "the kernel's word")
                    switch, fallen = faults(collector)
                    assert (switch.code, switch.device, switch.message) == (12028, "", SWITCH)
                    assert (fallen.code, fallen.device, fallen.count) == (79, BOARD.uuid, 1)
                    assert fallen.message == FALLEN
                assert agent.stop() == 0
        kmsg.close()
