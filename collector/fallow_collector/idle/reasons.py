"""The closed table of reasons: every rule that keeps a device from being idle is one row, first things first.

Its order is the order of precedence: where one word must say why a device is unavailable, the first that holds does.
A set of reasons is a uint64 per device, one bit a row.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Reason(NamedTuple):
    name: str
    means: str
    next: str  # what would have to happen for it to go


REASONS: tuple[Reason, ...] = (
    # The view
    Reason("absent", "declared or seen before, and not in its node's last report of devices",
           "the device comes back, or `fallow retire` it"),
    Reason("lost", "its node has been silent for longer than lost_s", "the node's agent reports again"),
    Reason("stale", "its newest reading is older than stale_s", "the node's agent reports again"),
    # Who owns it
    Reason("leased", "a lease, or a job of the scheduler that owns it, holds it", "the lease is released, or expires"),
    Reason("reserved", "it is reserved for a lease that is not committed", "the reservation is released, or expires"),
    Reason("releasing", "its lease has ended, and it has not been seen clean since", "its holder's work ends"),
    Reason("ledger_stale", "the ledger of the scheduler that owns it is old, could not be read, or another one has it "
           "too", "the scheduler's allocations are imported again"),
    # The device and its driver
    Reason("device_lost", "its driver says that it has fallen off the bus", "reset the device or restart the node"),
    Reason("reset_required", "its driver says that it must be reset", "reset the device"),
    Reason("recovery_required", "its driver asks for a recovery action", "take the action that the driver asks for"),
    Reason("incident_failed", "rules of health call it failed, on the evidence of an incident",
           "take the action that the incident suggests: `fallow device`"),
    Reason("quiesced", "its reader has let go of it for a while, as somebody asked",
           "the time that was asked for ends, or `fallow quiesce --resume`"),
    Reason("reader_stuck", "the vendor's library does not answer within its deadline",
           "the driver answers again; else look for tasks in state D on the node"),
    Reason("driver_unusable", "the driver is not loaded, or it and its library differ in version",
           "load the driver, or finish its upgrade"),
    Reason("read_timeout", "the vendor's library reported a time-out", "the next reading succeeds"),
    Reason("not_permitted", "the agent may not read the device", "give the agent's user access to it"),
    Reason("read_failed", "reading the device failed", "the next reading succeeds"),
    Reason("compute_prohibited", "its compute mode lets no process use it", "set its compute mode to default"),
    Reason("mode_change_pending", "a change of its mode waits for a reset", "reset the device"),
    Reason("unread", "it is on the PCI bus, and no reader of the agent claims it",
           "the agent reads it: `fallow-agent --doctor` on its node says what is missing"),
    Reason("passthrough", "it belongs to a virtual machine (vfio-pci)", "the machine gives it back"),
    # The evidence
    Reason("witness_missing", "something that must be known was not read: memory always, and what was read before "
           "under this driver", "the missing value is read again"),
    Reason("baseline_unaccepted", "what it holds or draws when clean is beyond its model's idle range",
           "free it, or accept it with `fallow baseline accept`"),
    Reason("frozen", "its energy counter stands still, so its readings are old ones", "the counter moves again"),
    Reason("conflict", "its witnesses disagree: no work to be seen, and yet the power of work",
           "utilization and power agree again"),
    Reason("undecided", "neither quiet nor active since it was first seen", "one clearly quiet or active reading"),
    # Service
    Reason("maintenance", "it is inside a maintenance window", "the window ends"),
    Reason("draining", "it is being drained: no new work", "`fallow uncordon`"),
    Reason("accelerator_leased", "an accelerator of this host is reserved or leased, and the host with it",
           "the lease ends"),
    Reason("cordoned", "it is cordoned: no new work", "`fallow uncordon`, or the cordon expires"),
    # Work
    Reason("active", "it is working", "the work ends"),
    Reason("process_present", "a process has it open", "the process ends"),
    Reason("memory_held", "more memory is in use than when nothing runs",
           "the memory is freed; when no process is there to free it, reset the device"),
    Reason("host_busy", "CPUs of the host are busy, or tasks wait for them", "the work ends"),
    Reason("job_processes", "a job scheduler or virtual machine runs processes on the host", "the jobs end"),
    # Only time
    Reason("window", "quiet and clean, but not yet for the whole confirmation window", "it stays so"),
    # What is said, and keeps it from nothing
    Reason("incident_degraded", "rules of health call it degraded, on the evidence of an incident",
           "take the action that the incident suggests: `fallow device`"),
    Reason("incident_doubted", "rules of health call it failed, and so many others at once that they are not followed",
           "look at what they have in common; correct the rule"),
    Reason("foreign_process", "a process is on it that is neither of the user nor in the control group of the job that "
           "has it", "the process ends: `fallow device` names it"),
    # What lowers confidence
    Reason("processes_unsupported", "its vendor offers no list of processes", "nothing: ask for low confidence"),
    Reason("single_activity_witness", "only one witness speaks of activity", "a second one is read"),
)

BIT: dict[str, np.uint64] = {reason.name: np.uint64(1 << i) for i, reason in enumerate(REASONS)}
NONE = np.uint64(0)


def where(condition: NDArray[np.bool_], name: str) -> NDArray[np.uint64]:
    """The bit of a reason where a condition holds."""
    return condition.astype(np.uint64) * BIT[name]


def names(mask: int) -> list[str]:
    return [reason.name for i, reason in enumerate(REASONS) if mask >> i & 1]


def primary(masks: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Position in REASONS of the first reason that holds; len(REASONS) where none does."""
    below = np.bitwise_count(~masks & (masks - np.uint64(1)))  # zeros below the lowest one; of none all 64
    return np.minimum(below, len(REASONS)).astype(np.intp)
