"""What a Processes may say: who is on one device."""

from fallow_collector.ingest.hello import LABEL_LENGTH, MESSAGE_LENGTH, UUID_LENGTH, cleaned, name_fault
from fallow_proto.v1 import telemetry_pb2 as pb

ENTRIES = 256  # an agent names 64 and counts the others


def complaint(told: pb.Processes) -> str:
    """Why it cannot be used, naming what was found and what is expected; empty when it can."""
    if fault := name_fault(told.device, UUID_LENGTH):
        return f"device of processes {fault}"
    if len(told.processes) > ENTRIES:
        return f"{len(told.processes)} processes on device {told.device}, expected no more than {ENTRIES}"
    return ""


def clean(told: pb.Processes) -> None:
    """Cut and clean, in place, the words that only describe."""
    told.problem = _problem(told.problem)
    for process in told.processes:
        process.problem = _problem(process.problem)
        process.command = cleaned(process.command, LABEL_LENGTH)
        process.user = cleaned(process.user, LABEL_LENGTH)
        process.cgroup = cleaned(process.cgroup, MESSAGE_LENGTH)


def _problem(text: str) -> str:
    """What cannot be printed is a problem all the same."""
    return cleaned(text, MESSAGE_LENGTH) or ("unprintable" if text else "")
