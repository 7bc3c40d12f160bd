"""The words for states, used alike in code, API and documents."""

from enum import StrEnum


class DeviceClass(StrEnum):
    INTELLIGENT = "intelligent"  # accelerators
    GENERAL = "general"  # a host's CPUs
    SUPER = "super"  # by declaration of the site


class Freshness(StrEnum):
    LIVE = "live"
    STALE = "stale"
    LOST = "lost"
    ABSENT = "absent"  # declared or seen before, and not in its node's last Hello


class Health(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Occupancy(StrEnum):
    ACTIVE = "active"
    RESIDENT = "resident"  # something is held, nothing runs
    QUIET = "quiet"
    CONFIRMED = "confirmed"  # quiet and clean for the whole window
    UNKNOWN = "unknown"


class Allocation(StrEnum):
    FREE = "free"
    RESERVED = "reserved"
    LEASED = "leased"
    RELEASING = "releasing"
    UNKNOWN = "unknown"  # the scheduler that owns it has not said so lately


class Service(StrEnum):
    IN_SERVICE = "in_service"
    CORDONED = "cordoned"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


class Phase(StrEnum):
    """The one word for a dispatcher, in order of precedence: the first that matches wins."""

    LEASED = "leased"
    RESERVED = "reserved"
    RELEASING = "releasing"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    FAULTY = "faulty"
    MAINTENANCE = "maintenance"
    DRAINING = "draining"
    CORDONED = "cordoned"
    UNMANAGED = "unmanaged"
    VERIFYING = "verifying"
    IDLE = "idle"


class Confidence(StrEnum):
    HIGH = "high"
    LOW = "low"


class Condition(StrEnum):
    """What makes a device unusable though it is there (Device.conditions on the wire)."""

    COMPUTE_PROHIBITED = "compute_prohibited"
    MODE_CHANGE_PENDING = "mode_change_pending"  # MIG or ECC differs after the next reset
    UNREAD = "unread"  # on the PCI bus, and no reader claims it
    PASSTHROUGH = "passthrough"  # it belongs to a virtual machine (vfio-pci)


NEVER_READ = frozenset({Condition.UNREAD, Condition.PASSTHROUGH})
"""Conditions under which nothing is known of a device but that it is there, and no reading is to be waited for."""


class EventKind(StrEnum):
    AGENT_STARTED = "agent_started"
    READER_STUCK = "reader_stuck"
    READER_RECOVERED = "reader_recovered"
    READER_FAILED = "reader_failed"
    READER_QUIESCED = "reader_quiesced"  # it has let go of its devices for a while, as somebody asked
    DEVICE_APPEARED = "device_appeared"
    DEVICE_VANISHED = "device_vanished"
    SPOOL_DROPPED = "spool_dropped"
    SPOOL_UNUSABLE = "spool_unusable"  # its disk cannot be used: what waits is in memory, and ends with the agent
    CLOCK_STEPPED = "clock_stepped"
    # What drivers and the kernel say; `code` is the vendor's number
    XID = "xid"  # NVIDIA, of a device
    SXID = "sxid"  # NVIDIA, of an NVSwitch
    DEVICE_FAULT = "device_fault"  # other faults with a code: a vendor's own, or the NVML event type
    KERNEL_MESSAGE = "kernel_message"  # a line of the kernel's log that a rule knows
    DRIVER_UNLOADED = "driver_unloaded"
    DRIVER_LOADED = "driver_loaded"
    # What ails the host
    PORT_DOWN = "port_down"  # InfiniBand or RoCE; `code` is its place among the node's ports that were ever active
    PORT_UP = "port_up"
    OOM_KILL = "oom_kill"  # memory ran out, and the kernel killed processes
    FILESYSTEM_READ_ONLY = "filesystem_read_only"
    # What the collector itself did or found
    LEASE_EXPIRED = "lease_expired"
    RELEASE_STUCK = "release_stuck"  # a lease has ended, and its device is still in use
    FENCE_REFUSED = "fence_refused"  # the node has a higher token than the collector
    FOREIGN_PROCESS = "foreign_process"  # on a device that a job has, and neither of its user nor in its control group
    QUARANTINED = "quarantined"  # several leases on the node failed at once
    DEVICE_CONTESTED = "device_contested"  # the node names devices that another one has
    NODE_REBOOTED = "node_rebooted"  # its boot id is another one
    RULES_DOUBTED = "rules_doubted"  # they would fail too much of the fleet at once, and are not followed
