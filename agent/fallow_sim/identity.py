"""Who simulated nodes and devices are, and the layout of what they say."""

from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from fallow_proto import WIRE
from fallow_proto.codec import layout_of
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.load import COUNTERS, GAUGES
from fallow_sim.profiles import Profile

READER = "sim"
MEDIUM_S = 10.0
LIMIT = "power_limit_watts"
CPU = "processes_cpu_seconds_total"
NODES_A_RACK = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What the nodes of one profile have in common."""

    profile: Profile
    devices: int  # on each node
    site: str
    seed: int
    interval_s: float

    @property
    def gauges(self) -> list[str]:
        return [name for name in GAUGES if name not in self.profile.unsupported]

    @property
    def counters(self) -> list[str]:
        return [name for name in COUNTERS if name not in self.profile.unsupported and name != CPU]

    @property
    def medium_gauges(self) -> list[str]:
        return [LIMIT] if LIMIT not in self.profile.unsupported else []

    @property
    def medium_counters(self) -> list[str]:
        return [CPU] if CPU not in self.profile.unsupported else []


def node_name(number: int) -> str:
    return f"sim-{number:05d}"


def device_uuid(seed: int, node: int, index: int) -> str:
    """The same for the same seed, in every run."""
    return f"SIM-{UUID(bytes=_digest(seed, node, index))}"


def hello(plan: Plan, node: int, uuids: list[str], epoch: str) -> pb.Hello:
    profile = plan.profile
    return pb.Hello(
        wire=WIRE,
        agent_version="fallow-sim",
        site=plan.site,
        node=node_name(node),
        boot_id=str(UUID(bytes=_digest(plan.seed, node, -1))),
        epoch=epoch,
        devices=[
            pb.Device(
                uuid=uuid,
                vendor=profile.vendor,
                model=profile.model,
                device_class="intelligent",
                index=index,
                minor=index,
                pci_bus_id=f"0000:{0x10 + 0x10 * (index % 15):02x}:{index // 15:02x}.0",
                driver_version=profile.driver_version,
                reader=READER,
                unsupported=sorted(profile.unsupported),
                link_domain=f"{node_name(node)}-links",
            )
            for index, uuid in enumerate(uuids)
        ],
        readers=[pb.Reader(name=READER, state="ok")],
        interval_s=plan.interval_s,
        rack=f"rack-{node // NODES_A_RACK:04d}",
    )


def layout(plan: Plan, uuids: list[str]) -> pb.Layout:
    """Block 0 is read at every tick; block 1, where the vendor tells what is in it, every 10 s."""
    blocks = [
        pb.Block(
            reader=READER, group=Group.FAST, interval_s=plan.interval_s, devices=uuids,
            gauges=plan.gauges, counters=plan.counters,
        )
    ]
    if plan.medium_gauges or plan.medium_counters:
        blocks.append(pb.Block(
            reader=READER, group=Group.MEDIUM, interval_s=max(MEDIUM_S, plan.interval_s), devices=uuids,
            gauges=plan.medium_gauges, counters=plan.medium_counters,
        ))
    return layout_of(blocks)


def _digest(seed: int, node: int, index: int) -> bytes:
    return blake2b(f"{seed}/{node}/{index}".encode(), digest_size=16).digest()
