"""What a Ledger may say: all allocations of one scheduler on its node."""

import math

from fallow_collector.ingest.hello import LABEL_LENGTH, MESSAGE_LENGTH, UUID_LENGTH, cleaned, name_fault
from fallow_proto.v1 import telemetry_pb2 as pb

ENTRIES = 4096  # 1,024 devices, with several holders each


def complaint(ledger: pb.Ledger) -> str:
    """Why it cannot be used, naming what was found and what is expected; empty when it can."""
    if fault := name_fault(ledger.name, LABEL_LENGTH):
        return f"name of a ledger {fault}"
    if not (math.isfinite(ledger.age_s) and ledger.age_s >= 0.0):
        return f"age_s of ledger {ledger.name} is {ledger.age_s}, expected seconds, 0 or more"
    if (many := max(len(ledger.allocations), len(ledger.owned))) > ENTRIES:
        return f"{many} allocations or owned devices in ledger {ledger.name}, expected no more than {ENTRIES}"
    for device in (*(allocation.device for allocation in ledger.allocations), *ledger.owned):
        if fault := name_fault(device, UUID_LENGTH):
            return f"device in ledger {ledger.name} {fault}"
    return ""


def clean(ledger: pb.Ledger) -> None:
    """Cut and clean, in place, the words that only describe."""
    problem = cleaned(ledger.problem, MESSAGE_LENGTH)
    # What cannot be printed is a problem all the same: without one, what is not listed would be free.
    ledger.problem = problem or ("unprintable" if ledger.problem else "")
    for allocation in ledger.allocations:
        allocation.holder = cleaned(allocation.holder, LABEL_LENGTH)
