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
    "reclaimable_devices": "Leased devices on which nothing was done for reclaim_idle_s.",
    "slots": "Sets of `size` idle devices on one node.",
    "fragmentation_ratio": "Share of the idle devices that no set of `size` on one node can use.",
    "largest_block_devices": "Idle devices of the largest block within one node, link domain or rack.",
    "idle_memory_bytes": "Free memory of idle devices.",
    "idle_memory_unknown_devices": "Idle devices whose free memory is not known.",
    "idle_flops": "Peak FLOP/s of idle devices by precision (int8: OP/s); never to be added across precisions.",
    "idle_flops_unknown_devices": "Idle devices whose peak at the precision is not known.",
    "ineffective_devices": "Devices seen and available that do no work, by kind.",
    "ineffective_ratio": "Share of the devices seen and available that do no work.",
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
    yield from _quantities(group, labels)
    if group.idle_cores is not None:
        yield _gauge("idle_cores", _HELP["idle_cores"], labels, group.idle_cores)
    if group.available_memory_bytes is not None:
        yield _gauge("available_memory_bytes", _HELP["available_memory_bytes"], labels, group.available_memory_bytes)


def _quantities(group: api.Group, labels: dict[str, str]) -> Iterator[Sample]:
    for size, share in group.fragmentation.items():
        yield _gauge("fragmentation_ratio", _HELP["fragmentation_ratio"], {**labels, "size": size}, share)
    for level in ("node", "link", "rack"):
        block = getattr(group.largest_block, level)
        if block is not None:
            yield _gauge("largest_block_devices", _HELP["largest_block_devices"], {**labels, "within": level}, block)
    if group.idle_memory_bytes is not None:
        yield _gauge("idle_memory_bytes", _HELP["idle_memory_bytes"], labels, group.idle_memory_bytes)
    lacking = "idle_memory_unknown_devices"
    yield _gauge(lacking, _HELP[lacking], labels, group.idle_memory_unknown)
    for precision, peak in group.idle_flops.items():
        at = {**labels, "precision": precision, "density": api.DENSITY}
        if peak.flops is not None:
            yield _gauge("idle_flops", _HELP["idle_flops"], at, peak.flops)
        yield _gauge("idle_flops_unknown_devices", _HELP["idle_flops_unknown_devices"], at, peak.unknown)
    for kind in ("idle", "leased_idle", "resident", "busy_without_work"):
        number = getattr(group.ineffective, kind)
        yield _gauge("ineffective_devices", _HELP["ineffective_devices"], {**labels, "kind": kind}, number)
    if group.ineffective.ratio is not None:
        yield _gauge("ineffective_ratio", _HELP["ineffective_ratio"], labels, group.ineffective.ratio)


def _gauge(name: str, help_text: str, labels: dict[str, str], value: float) -> Sample:
    return Sample(f"fallow_capacity_{name}", "gauge", help_text, labels, value)
