"""Devices, one and many."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fallow_client.views.table import add, pairs, phase, table
from fallow_client.views.text import GIB, UNKNOWN, age, label_of, metric, moment, number, plain, standing
from fallow_proto import api
from fallow_proto.metrics import METRICS, NAMES, Bearer, Metric
from fallow_proto.states import DeviceClass

_SHORTEST = 12  # characters of a uuid: GPU- and the eight digits that people quote
_WIDE = 130  # columns of a terminal that has room for whole uuids and for the model


def page(answer: api.Page[api.Device], width: int) -> Iterator[RenderableType]:
    """A page of devices, and where the next one starts."""
    yield rows(answer.items, width)
    yield Text("")
    yield footing(answer)


def footing(answer: api.Page[api.Device]) -> Text:
    missing = Counter(one.freshness for one in answer.items if one.freshness != "live")
    oldest = max((one.age_ms for one in answer.items if one.age_ms is not None), default=None)
    more = f"\nmore: --cursor {plain(answer.next)}" if answer.next is not None else ""
    return Text(standing(answer.as_of, answer.complete, oldest, missing) + more)


def rows(devices: Sequence[api.Device], width: int) -> Table:
    """One line a device; `width` in columns decides whether uuids are cut, to what still tells them apart."""
    wide = width >= _WIDE
    length = 256 if wide else unique_length([one.uuid for one in devices])
    made = table(
        "uuid", "node", ">#", *(["model"] if wide else []), "phase", ">util %", ">memory GiB", ">W", ">°C", ">age s",
    )
    for one in devices:
        memory = f"{number(one.memory_usage_bytes, GIB, 1)}/{number(one.memory_limit_bytes, GIB)}"
        add(made, (
            plain(one.uuid[:length]), plain(one.node), number(one.index), *([plain(one.model)] if wide else []),
            phase(one.phase, one.confidence), number(one.utilization_ratio, 100), memory,
            number(one.power_watts), number(one.temperature_celsius), age(one.age_ms),
        ))
    return made


def unique_length(uuids: Sequence[str]) -> int:
    """The fewest characters, 12 at least, that tell the uuids apart."""
    ordered = sorted(uuids)
    shared = (_alike(one, other) + 1 for one, other in pairwise(ordered))
    return max((_SHORTEST, *shared))


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((n for n, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), len(one))


def detail(answer: api.DeviceDetail) -> Iterator[RenderableType]:
    """Everything about one device: who, in what state, what it says, what it is when idle, and what happened."""
    one = answer.device
    yield pairs(_identity(one))
    yield Text("")
    yield pairs(_state(one))
    yield Text("")
    known = [(name, value) for name in NAMES if (value := getattr(one, name)) is not None]
    yield pairs((label_of(name), metric(name, value)) for name, value in known)
    unknown = [metric.name for metric in METRICS if getattr(one, metric.name) is None and _can_have(one, metric)]
    if unknown:
        yield Text(f"not known: {', '.join(unknown)}")
    yield Text("")
    yield from baseline(answer.baseline)
    if answer.processes is not None:
        yield Text("")
        yield from processes(answer.processes)
    for incident in answer.incidents:
        yield Text("")
        yield from _incident(incident)
    if answer.timeline:
        yield Text("")
        made = table("at", "what", "")
        for line in answer.timeline:
            add(made, (moment(line.at), plain(line.kind), _told(line)))
        yield made


def processes(answer: api.Processes) -> Iterator[RenderableType]:
    """Who is on the device, and who does not belong there."""
    if answer.problem is not None:
        yield Text(f"processes not known: {plain(answer.problem)}")
        return
    if not answer.items and not answer.more:
        yield Text("no processes")
        return
    made = table(">pid", "command", "user", ">GiB", "since", "belongs to", "")
    for one in answer.items:
        add(made, (
            str(one.pid), plain(one.command), plain(one.user), number(one.memory_bytes, GIB, 1), moment(one.started),
            _belongs(one), _MARKED[one.exempt, one.foreign is True],
        ))
    yield made
    if answer.more:
        yield Text(f"and {answer.more} more")


_MARKED = {
    (False, False): Text(""), (True, False): Text("exempt"), (True, True): Text("exempt"),
    (False, True): Text("foreign", style="red"),
}


def _belongs(one: api.Process) -> str:
    if one.problem is not None:
        return plain(one.problem)
    named = [f"{what} {plain(name)}" for what, name in (("job", one.job), ("pod", one.pod)) if name is not None]
    if not named and one.container is not None:
        named = [f"container {plain(one.container[:12])}"]
    return ", ".join(named) or plain(one.unit or one.cgroup)


_BEARER: Mapping[str, Bearer] = {DeviceClass.GENERAL: Bearer.HOST, DeviceClass.INTELLIGENT: Bearer.ACCELERATOR}
"""A class that a site declares (super) does not say which of them the device is."""


def _can_have(one: api.Device, metric: Metric) -> bool:
    kind = _BEARER.get(one.device_class)
    return kind is None or metric.bearer in (kind, Bearer.ANY)


def _incident(one: api.Incident) -> Iterator[RenderableType]:
    """What is wrong, since when, on what evidence, and what to do about it."""
    where = "" if one.device is not None else f" on node {plain(one.node)}"
    shadow = "" if one.mode == "enforce" else f", {plain(one.mode)}: it changes nothing"
    yield Text(f"{plain(one.severity)}{where}: {plain(one.summary)} (rule {plain(one.rule)}{shadow})")
    yield Text(f"  since {moment(one.since)}, last {moment(one.last)}, {one.count} times")
    yield Text(f"  suggested action: {plain(one.action)}")
    for evidence in one.evidence:
        expected = f", expected {plain(evidence.threshold)}" if evidence.threshold is not None else ""
        yield Text(f"  {plain(evidence.what)}: {plain(evidence.found)}{expected}")


def _told(one: api.Moment) -> str:
    if one.event is not None:
        times = f"{one.event.count} times: " if one.event.count > 1 else ""
        return f"{plain(one.event.kind)}: {times}{plain(one.event.message)}"
    if one.incident is not None:
        by = f" ({plain(one.incident.cleared_by)})" if one.kind == "cleared" else f", {plain(one.incident.severity)}"
        return f"{plain(one.incident.summary)}{by}"
    return plain(one.phase)


def baseline(answer: api.Baseline) -> Iterator[RenderableType]:
    yield pairs([
        ("idle power W", f"{number(answer.floor_watts, digits=1)} ({plain(answer.floor_source)})"),
        ("idle memory GiB", f"{number(answer.base_memory_bytes, GIB, 2)} ({plain(answer.base_source)})"),
        ("clean readings", f"{answer.clean_s:,.0f} s"),
    ])


def _identity(one: api.Device) -> Iterator[tuple[str, str]]:
    yield "uuid", plain(one.uuid)
    yield "node", f"{plain(one.node)}, site {plain(one.site)}"
    yield "model", f"{plain(one.model)} ({plain(one.vendor)}, {plain(one.device_class)})"
    yield "index", f"{number(one.index)}, minor {number(one.minor)}, PCI {plain(one.pci_bus_id)}"
    if one.parent:
        yield "parent", f"{plain(one.parent)}, profile {plain(one.partition_profile)}"
    yield "serial", f"{plain(one.serial)}, driver {plain(one.driver_version)}"
    yield "declared", "yes" if one.declared else "no"


def _state(one: api.Device) -> Iterator[tuple[str, str | Text]]:
    yield "phase", phase(one.phase, one.confidence) + f" since {moment(one.since)}Z"
    yield "because", ", ".join(plain(reason) for reason in one.reasons) or UNKNOWN
    yield "freshness", f"{plain(one.freshness)}, newest reading {age(one.age_ms)} s old"
    yield "health", plain(one.health)
    yield "occupancy", f"{plain(one.occupancy)}, confidence {plain(one.confidence)}"
    yield "allocation", f"{plain(one.allocation)} by ledger {plain(one.ledger)}"
    yield "service", plain(one.service)


def explanation(answer: api.Explanation) -> Iterator[RenderableType]:
    """Each rule with ✓ (holds), ✗ (does not) or ? (cannot be told)."""
    reasons = f" because of {', '.join(plain(reason) for reason in answer.reasons)}" if answer.reasons else ""
    yield Text(f"{plain(answer.uuid)} is ") + phase(answer.phase) + reasons
    yield Text("")
    made = table("", "rule", "found", "expected", "since", "next")
    for one in answer.predicates:
        add(made, (
            _MARK[one.holds], plain(one.name), plain(one.value), plain(one.threshold),
            moment(one.since, answer.as_of), "" if one.holds else plain(one.next),
        ))
    yield made
    yield Text("")
    found = Counter(one.holds for one in answer.predicates)
    yield Text(
        f"as of {plain(answer.as_of)}: {found[True]} of {len(answer.predicates)} rules hold, "
        f"{found[False]} do not, {found[None]} cannot be told"
    )


_MARK = {True: Text("✓", style="green"), False: Text("✗", style="red"), None: Text("?", style="yellow")}
