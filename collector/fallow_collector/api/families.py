"""What /metrics says of capacity: the groups of the capacity answer as Prometheus samples."""

from collections.abc import Iterator

from fallow_collector.api.exposition import Sample
from fallow_proto import api

_SEEN_AS = (
    "idle", "idle_low_confidence", "verifying", "reserved", "leased", "releasing", "unmanaged", "unavailable",
)  # these add up to `seen`

_HELP = {
    "devices": "Devices seen, by what they are to a dispatcher; they add up to fallow_capacity_seen_devices.",
    "seen_devices": "Devices that their node's agent reported.",
    "declared_devices": "Devices that the inventory declares.",
    "undeclared_devices": "Devices that were seen and that the inventory does not declare.",
    "absent_devices": "Devices declared or seen before that are not there now.",
    "unavailable_devices": "Devices seen that cannot be dispatched, by reason.",
    "reclaimable_devices": "Leased devices on which nothing runs.",
    "slots": "Sets of `size` idle devices on one node.",
    "idle_cores": "Cores idle on hosts whose evidence is good.",
    "available_memory_bytes": "Memory available on hosts whose evidence is good.",
}


def capacity_samples(capacity: api.Capacity) -> Iterator[Sample]:
    """Samples of one capacity answer."""
    yield _gauge("complete", "Whether the answer lacks no device: 1 or 0.", {}, float(capacity.complete))
    for reason, count in capacity.incomplete_by.items():
        yield _gauge("incomplete_devices", "Devices that the answer lacks, by reason.", {"reason": reason}, count)
    if capacity.max_age_ms is not None:
        help_text = "Age of the oldest evidence of the devices counted idle."
        yield _gauge("age_seconds", help_text, {}, capacity.max_age_ms / 1000)
    for group in capacity.groups:
        yield from _group_samples(group)


def _group_samples(group: api.Group) -> Iterator[Sample]:
    labels = {
        "site": group.site, "class": group.device_class, "vendor": group.vendor, "model": group.model,
        "partition_profile": group.partition_profile or "",
    }
    for phase in _SEEN_AS:
        yield _gauge("devices", _HELP["devices"], {**labels, "phase": phase}, getattr(group, phase))
    for count in ("seen", "declared", "undeclared", "absent", "reclaimable"):
        yield _gauge(f"{count}_devices", _HELP[f"{count}_devices"], labels, getattr(group, count))
    for reason, number in group.unavailable_by.items():
        yield _gauge("unavailable_devices", _HELP["unavailable_devices"], {**labels, "reason": reason}, number)
    for size, number in group.slots.items():
        yield _gauge("slots", _HELP["slots"], {**labels, "size": size}, number)
    if group.idle_cores is not None:
        yield _gauge("idle_cores", _HELP["idle_cores"], labels, group.idle_cores)
    if group.available_memory_bytes is not None:
        yield _gauge("available_memory_bytes", _HELP["available_memory_bytes"], labels, group.available_memory_bytes)


def _gauge(name: str, help_text: str, labels: dict[str, str], value: float) -> Sample:
    return Sample(f"fallow_capacity_{name}", "gauge", help_text, labels, value)
