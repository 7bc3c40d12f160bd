"""The kinds of devices that can be simulated, and what each vendor's library cannot tell."""

from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Profile:
    """One model. `unsupported` names the metrics that its vendor does not offer."""

    vendor: str
    model: str
    memory_bytes: int
    idle_watts: float
    limit_watts: float
    driver_version: str
    unsupported: frozenset[str] = frozenset()


_NO_LINKS = frozenset({"link_receive_bytes_total", "link_transmit_bytes_total"})
_NO_THROTTLE = frozenset({"throttle_power_seconds_total", "throttle_thermal_seconds_total"})
_NO_RECOVERY = frozenset({"recovery_action", "pcie_replays_total"})

# Names as the drivers print them. Ascend: DCMI has no power limit and no energy counter. MetaX: MXSML has a power
# limit, no energy counter. Moore Threads: MTML has no power limit, energy, throttle or process call, so its devices
# are never idle with high confidence.
PROFILES = {
    "nvidia": Profile("nvidia", "NVIDIA A100-SXM4-80GB", 80 * _GIB, 63.0, 400.0, "570.86.15"),
    "ascend": Profile(
        "ascend", "910B2", 64 * _GIB, 92.0, 400.0, "24.1.0",
        frozenset({"power_limit_watts", "energy_joules_total"}) | _NO_LINKS | _NO_THROTTLE | _NO_RECOVERY,
    ),
    "metax": Profile(
        "metax", "MXC500", 64 * _GIB, 58.0, 350.0, "2.14.6",
        frozenset({"energy_joules_total", "memory_bandwidth_active_ratio"}) | _NO_LINKS | _NO_THROTTLE | _NO_RECOVERY,
    ),
    "mthreads": Profile(
        "mthreads", "MTT S4000", 48 * _GIB, 70.0, 450.0, "2.7.0",
        frozenset({
            "power_limit_watts", "energy_joules_total", "processes", "processes_exempt", "compute_active_ratio",
            "processes_cpu_seconds_total",
        }) | _NO_LINKS | _NO_THROTTLE | _NO_RECOVERY,
    ),
}


def assign(vendors: dict[str, int], nodes: int) -> list[Profile]:
    """One profile a node, in turn by weight: {"nvidia": 3, "metax": 1} makes every fourth node a metax."""
    turn = [PROFILES[name] for name, weight in vendors.items() for _ in range(weight)]
    return [turn[node % len(turn)] for node in range(nodes)]
