"""A small fleet in memory that answers like the collector does: two sites, three vendors, every kind of trouble."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import isnan

from fallow_collector.api.answers import Asked, Refused, Unavailable, Unknown, Where
from fallow_collector.api.exposition import Sample, render
from fallow_proto import api
from fallow_proto.catalogue import find, peak_flops
from fallow_proto.metrics import METRICS

AS_OF = "2026-03-01T12:00:00.250Z"
SINCE = "2026-03-01T11:30:00.000Z"
GIB = 2.0**30

def _process(pid: int, **known: object) -> api.Process:
    fields: dict[str, object] = dict.fromkeys(api.Process.__struct_fields__) | {"pid": pid, "exempt": False} | known
    return api.Process(**fields)  # type: ignore[arg-type]


PROCESSES = api.Processes(
    problem=None, more=1,
    items=[
        _process(4711, started=SINCE, command="python", user="alice", uid=1000, job="17", foreign=False,
                 cgroup="/slurm/uid_1000/job_17/step_0", memory_bytes=8 << 30),
        _process(4712, started=SINCE, command="miner", user="1666", uid=1666, unit="session-3.scope", foreign=True,
                 cgroup="/user.slice/user-1666.slice/session-3.scope"),
        _process(4713, problem="not in /proc: it has ended, is hidden, or is in another pid namespace than the agent"),
    ],
)
INCIDENT = api.Incident(
    incident_id="5f3a9c0d21e84b67", node="gpu-01", device=None, rule="sxid 20034", severity="failed",
    action="restart_node", mode="enforce", since="2026-03-01T10:15:00.000Z", last="2026-03-01T10:15:02.500Z",
    cleared=None, cleared_by=None, count=3, summary="SXid 20034: LTSSM fault up",
    evidence=[api.Evidence(
        what="SXid 20034: LTSSM fault up", found="3 times: Fatal, Link 30 LTSSM Fault Up", threshold=None,
        events=["gpu-01/b7c1/e2"],
    )],
)

COUNTED_AS = {
    "idle": "idle", "verifying": "verifying", "unmanaged": "unmanaged", "reserved": "reserved", "leased": "leased",
    "releasing": "releasing",
}


def device(uuid: str, **changes: object) -> api.Device:
    """A quiet H100; `changes` name what is different."""
    facts: dict[str, object] = {
        "uuid": uuid, "node": "gpu-01", "site": "north", "vendor": "nvidia", "model": "NVIDIA H100 80GB HBM3",
        "index": 0, "minor": 0, "pci_bus_id": "00000000:18:00.0", "parent": None, "partition_profile": None,
        "device_class": "intelligent", "serial": "1652422000001", "driver_version": "580.82.07", "declared": True,
        "phase": "idle", "freshness": "live", "health": "ok", "occupancy": "confirmed", "allocation": "free",
        "service": "in_service", "ledger": "fallow", "confidence": "high", "reasons": [], "age_ms": 400,
        "since": SINCE, "utilization_ratio": 0.0, "memory_usage_bytes": 0.5 * GIB, "memory_limit_bytes": 80 * GIB,
        "memory_utilization_ratio": 0.00625, "processes": 0.0, "power_watts": 71.5, "power_limit_watts": 700.0,
        "temperature_celsius": 31.0, "energy_joules_total": 123456789.25,
    }
    return api.Device(**(facts | changes))


def fleet() -> list[api.Device]:
    h100 = [
        device(f"GPU-{n}0c0ffee-1111-2222-3333-44444444444{n}", index=n, minor=n, pci_bus_id=f"00000000:{n}8:00.0")
        for n in range(6)
    ]
    busy = device(
        "GPU-60c0ffee-1111-2222-3333-444444444446", index=6, minor=6, phase="unmanaged", occupancy="active",
        reasons=["active"], utilization_ratio=0.97, memory_usage_bytes=71.2 * GIB, processes=2.0, power_watts=655.0,
        temperature_celsius=64.0, age_ms=300,
    )
    unread = device(
        "GPU-70c0ffee-1111-2222-3333-444444444447", index=7, minor=7, phase="unknown", freshness="stale",
        occupancy="unknown", health="unknown", reasons=["stale", "memory_unread"], utilization_ratio=None,
        memory_usage_bytes=None, processes=None, power_watts=None, temperature_celsius=None, age_ms=12_300,
        memory_utilization_ratio=None,
    )
    ascend = [
        device(
            f"NPU-{n}a5ce4d0-0910", node="npu-01", vendor="huawei", model="Ascend 910B3", index=n, minor=None,
            confidence="low", processes=None, power_watts=93.1, memory_limit_bytes=64 * GIB, declared=False,
            phase="idle" if n < 3 else "verifying", occupancy="confirmed" if n < 3 else "quiet",
            reasons=["low_confidence"] if n < 3 else ["window"], energy_joules_total=None,
        )
        for n in range(4)
    ]
    gone = device(
        "GPU-dead0000-1111-2222-3333-444444444448", node="gpu-02", index=None, minor=None, phase="absent",
        freshness="absent", health="unknown", occupancy="unknown", reasons=["absent"], age_ms=None,
        **dict.fromkeys((
            "utilization_ratio", "memory_usage_bytes", "memory_utilization_ratio", "processes", "power_watts",
            "temperature_celsius", "energy_joules_total",
        )),
    )
    host = device(
        "CPU-gpu-01", vendor="intel", model="Intel(R) Xeon(R) Platinum 8468", device_class="general", site="south",
        node="cpu-01", index=0, minor=None, pci_bus_id=None, memory_usage_bytes=41 * GIB,
        memory_limit_bytes=512 * GIB, processes=None, power_watts=None, temperature_celsius=None, cpu_cores=96.0,
        cpu_busy_cores=1.4, cpu_pressure_ratio=0.0, idle_cores=94.6, memory_available_bytes=470 * GIB,
        utilization_ratio=0.0146, energy_joules_total=None, power_limit_watts=None, declared=False,
    )
    return sorted([*h100, busy, unread, *ascend, gone, host], key=lambda one: one.uuid)


@dataclass
class MemoryAnswers:
    """Answers over a list of devices."""

    members: list[api.Device] = field(default_factory=fleet)
    not_ready: list[str] = field(default_factory=list)
    store_down: str = ""
    asked: list[Asked] = field(default_factory=list)

    def capacity(self, where: Where, precisions: Sequence[str] = api.FLOPS_SHOWN) -> api.Capacity:
        members = [one for one in self.members if matches(one, where)]
        members.sort(key=_group_key)
        idle_ages = [one.age_ms for one in members if one.phase == "idle"]
        missing = Counter(one.freshness for one in members if one.freshness != "live")
        return api.Capacity(
            as_of=AS_OF, epoch="b7c1", revision=42, complete=not missing, incomplete_by=dict(missing),
            max_age_ms=max(idle_ages, default=None), density=api.DENSITY,
            groups=[_group(list(ones), precisions) for _, ones in groupby(members, key=_group_key)],
        )

    def totals(self, where: Where, by: Sequence[str], precision: str) -> api.Totals:
        groups = self.capacity(where, (precision,)).groups
        names = ("class", *(name for name in by if name != "class"))
        groups.sort(key=lambda group: [str(word) for word in _words(group, names).values()])
        return api.Totals(
            as_of=AS_OF, epoch="b7c1", revision=42, complete=False, incomplete_by={"stale": 1}, max_age_ms=400,
            by=list(names), precision=precision, density=api.DENSITY,
            totals=[
                _total(list(ones), names, precision)
                for _, ones in groupby(groups, key=lambda group: _words(group, names))
            ],
        )

    def devices(self, where: Where, limit: int, cursor: str | None) -> api.Page[api.Device]:
        found = [one for one in self.members if matches(one, where) and one.uuid > (cursor or "")]
        more = found[limit - 1].uuid if len(found) > limit else None
        return api.Page(items=found[:limit], next=more, as_of=AS_OF, complete=False)

    def device(self, uuid: str) -> api.DeviceDetail:
        one = self._find(uuid)
        event = api.Event(
            id="e1", node=one.node, device=uuid, kind="device_appeared", count=3, first=SINCE, last=AS_OF,
            message="the driver was loaded again", code=None, source=None,
        )
        return api.DeviceDetail(
            device=one, baseline=self._baseline(uuid, "learned"), events=[event], incidents=[INCIDENT],
            timeline=[
                api.Moment(at=AS_OF, kind="event", event=event), api.Moment(at=SINCE, kind="phase", phase=one.phase),
                api.Moment(at=INCIDENT.since, kind="incident", incident=INCIDENT),
            ],
            processes=PROCESSES,
        )

    def timeline(self, uuid: str, start: float, end: float, limit: int) -> api.Page[api.Moment]:
        moments = self.device(uuid).timeline
        return api.Page(
            items=moments[:limit], next=moments[limit - 1].at if len(moments) > limit else None, as_of=AS_OF,
            complete=False,
        )

    def explain(self, uuid: str) -> api.Explanation:
        one = self._find(uuid)
        predicates = [
            api.Predicate(name="fresh", holds=one.freshness == "live", value=f"{one.age_ms} ms old",
                          threshold="at most 5 s", since=SINCE, next="the node must report"),
            api.Predicate(name="quiet", holds=None if one.utilization_ratio is None else one.utilization_ratio < 0.01,
                          value="–" if one.utilization_ratio is None else f"{one.utilization_ratio:.0%} busy",
                          threshold="at most 1% busy", since=None, next="its work must end"),
            api.Predicate(name="in_service", holds=True, value="in_service", threshold="in_service", since=SINCE,
                          next=""),
        ]
        return api.Explanation(uuid=uuid, phase=one.phase, as_of=AS_OF, reasons=one.reasons, predicates=predicates)

    def nodes(self, where: Where, limit: int, cursor: str | None) -> api.Page[api.Node]:
        members = [one for one in self.members if matches(one, where) and one.node > (cursor or "")]
        members.sort(key=lambda one: one.node)
        found = [_node(list(ones)) for _, ones in groupby(members, key=lambda one: one.node)]
        more = found[limit - 1].node if len(found) > limit else None
        return api.Page(items=found[:limit], next=more, as_of=AS_OF, complete=False)

    def history(self, asked: Asked) -> api.History:
        if self.store_down:
            raise Unavailable(self.store_down)
        self._find(asked.uuid)
        self.asked.append(asked)
        times = (1772366400.0, 1772366460.0, 1772366520.5)
        rows = [[time, *(None if n == 1 else 0.25 * n for _ in asked.columns)] for n, time in enumerate(times)]
        return api.History(columns=["time", *asked.columns], rows=rows)

    def declare(self, declaration: api.Declaration) -> api.DeclarationResult:
        by_uuid = {one.uuid: one for one in self.members}
        already = 0
        for wanted in declaration.devices:
            found = by_uuid.get(wanted.uuid)
            if found is None:
                self.members.append(device(
                    wanted.uuid, node=wanted.node, model=wanted.model, phase="absent", freshness="absent", age_ms=None,
                ))
            else:
                already += found.declared
                found.declared = True
        self.members.sort(key=lambda one: one.uuid)
        return api.DeclarationResult(declared=len(declaration.devices) - already, already=already)

    def retire(self, uuid: str) -> None:
        one = self._find(uuid)
        if one.freshness != "absent":
            raise Refused(f"device {uuid} is {one.freshness} on node {one.node}; only an absent one can be retired")
        self.members.remove(one)

    def accept_baseline(self, uuid: str) -> api.Baseline:
        if self._find(uuid).power_watts is None:
            raise Refused(f"device {uuid} shows no power now; try again when it is live")
        return self._baseline(uuid, "accepted")

    def readiness(self) -> list[str]:
        return self.not_ready

    def own_metrics(self) -> Iterable[tuple[str, str, str, dict[str, str], float]]:
        yield "fallow_collector_reports_total", "counter", "Reports taken.", {"lane": "judged"}, 1200.0
        yield "fallow_collector_nodes", "gauge", "Nodes by freshness.", {"freshness": "live"}, 3.0
        yield "fallow_collector_reports_total", "counter", "Reports taken.", {"lane": "backlog"}, 2.0**53 + 2
        yield "fallow_collector_store_bytes", "gauge", "Bytes of the store.", {}, float("nan")

    def site_of(self, uuid: str) -> str | None:
        return next((one.site for one in self.members if one.uuid == uuid), None)

    def site_of_node(self, node: str) -> str | None:
        return next((one.site for one in self.members if one.node == node), None)

    def device_metrics(self, where: Where) -> Iterator[bytes]:
        for metric in METRICS:
            yield render(
                Sample(f"fallow_device_{metric.name}", metric.kind, metric.help, {"uuid": one.uuid, "node": one.node},
                       value)
                for one in self.members
                if matches(one, where) and (value := getattr(one, metric.name)) is not None
            )

    def _find(self, uuid: str) -> api.Device:
        for one in self.members:
            if one.uuid == uuid:
                return one
        raise Unknown(f"there is no device {uuid}; fallow devices lists those there are")

    def _baseline(self, uuid: str, source: str) -> api.Baseline:
        self._find(uuid)
        return api.Baseline(uuid=uuid, floor_watts=70.25, floor_source=source, base_memory_bytes=0.5 * GIB,
                            base_source=source, clean_s=86_400.0)


def matches(one: api.Device, where: Where) -> bool:
    return all(not words or getattr(one, name) in words for name, words in where._asdict().items())


def _group_key(one: api.Device) -> tuple[str, str, str, str]:
    return one.site, one.device_class, one.vendor, one.model


def _words(group: api.Group, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(group, "device_class" if name == "class" else name) for name in names}


def _total(groups: list[api.Group], names: Sequence[str], precision: str) -> api.Total:
    words = _words(groups[0], names)
    peaks = [(peak_flops(group.vendor, group.model, precision), group) for group in groups]
    return api.Total(
        device_class=words.pop("class"), **words, devices=sum(group.seen for group in groups),
        idle=sum(group.idle for group in groups), memory_bytes=640 * GIB, memory_unknown=0,
        idle_memory_bytes=sum(group.idle_memory_bytes or 0.0 for group in groups),
        idle_memory_unknown=sum(group.idle_memory_unknown for group in groups),
        flops=_sum([(peak, group.seen) for peak, group in peaks]),
        idle_flops=_sum([(peak, group.idle) for peak, group in peaks]),
    )


def _sum(peaks: list[tuple[float, int]]) -> api.Peak:
    unknown = sum(devices for peak, devices in peaks if isnan(peak))
    known = [peak * devices for peak, devices in peaks if not isnan(peak)]
    return api.Peak(flops=sum(known) if known or not unknown else None, unknown=unknown)


def _group(ones: list[api.Device], precisions: Sequence[str]) -> api.Group:
    phases = Counter(_counted_as(one) for one in ones)
    site, device_class, vendor, model = _group_key(ones[0])
    idle_by_node = Counter(one.node for one in ones if _counted_as(one) == "idle")
    unavailable = Counter(one.reasons[0] for one in ones if _counted_as(one) == "unavailable")
    general = device_class == "general"
    idle = [one for one in ones if _counted_as(one) == "idle"]
    used = len(ones) - phases["absent"] - phases["unavailable"]
    peak = {precision: peak_flops(vendor, model, precision) for precision in precisions}
    chip = find(vendor, model)
    return api.Group(
        domestic=None if chip is None else chip.domestic,
        fragmentation={
            str(size): 1 - sum(n // size for n in idle_by_node.values()) * size / len(idle) if idle else 0.0
            for size in (1, 2, 4, 8)
        },
        largest_block=api.Block(node=max(idle_by_node.values(), default=0), link=None if idle else 0, rack=None),
        idle_memory_bytes=sum((one.memory_limit_bytes or 0.0) - (one.memory_usage_bytes or 0.0) for one in idle),
        idle_memory_unknown=0,
        idle_flops={precision: _sum([(flops, len(idle))]) for precision, flops in peak.items()},
        ineffective=api.Ineffective(
            idle=len(idle), leased_idle=0, resident=0, busy_without_work=0, of=used,
            ratio=len(idle) / used if used else None,
        ),
        site=site, device_class=device_class, vendor=vendor, model=model, partition_profile=None,
        declared=sum(one.declared for one in ones), undeclared=sum(not one.declared for one in ones),
        seen=len(ones) - phases["absent"], absent=phases["absent"], idle=phases["idle"],
        idle_low_confidence=phases["idle_low_confidence"], verifying=phases["verifying"], reserved=0, leased=0,
        releasing=0, unmanaged=phases["unmanaged"], unavailable=phases["unavailable"], unavailable_by=dict(unavailable),
        reclaimable=0,
        slots={str(size): sum(idle // size for idle in idle_by_node.values()) for size in (1, 2, 4, 8)},
        idle_cores=sum(one.idle_cores or 0.0 for one in ones) if general else None,
        available_memory_bytes=sum(one.memory_available_bytes or 0.0 for one in ones) if general else None,
    )


def _counted_as(one: api.Device) -> str:
    if one.phase == "idle" and one.confidence == "low":
        return "idle_low_confidence"
    return "absent" if one.phase == "absent" else COUNTED_AS.get(one.phase, "unavailable")


def _node(ones: list[api.Device]) -> api.Node:
    name, live = ones[0].node, ones[0].freshness != "absent"
    return api.Node(
        node=name, site=ones[0].site, freshness="live" if live else "lost", age_ms=300 if live else None,
        agent_version="0.1.0" if live else None, epoch="0f3a" if live else None, connected=live, devices=len(ones),
        phases=dict(Counter(one.phase for one in ones)),
        readers=[api.Reader(name="nvidia", state="stuck", since=SINCE, message="nvmlDeviceGetPowerUsage hangs")]
        if name == "gpu-01" else [api.Reader(name="host", state="ok", since=SINCE, message="")],
        rack=None, clock_skew_s=0.002 if live else None, spool_pending=17 if live else None,
    )
