"""How fast InfiniBand and RoCE ports are, and which became slower: a link that lost lanes comes up again with less.

Source of the text: rate_show in the kernel's drivers/infiniband/core/sysfs.c, "%d%s Gb/sec (%dX%s)".
"""

from collections.abc import Mapping

from fallow_agent.readers.host_ports import ACTIVE, Port

_BYTES_PER_GIGABIT = 1e9 / 8


def bytes_per_second(rate: str) -> float | None:
    """Of "2.5 Gb/sec (1X SDR)"; None where the adapter prints something else, or nothing."""
    number, _, unit = rate.partition(" ")
    try:
        gigabits = float(number)
    except ValueError:
        return None
    return gigabits * _BYTES_PER_GIGABIT if unit.startswith("Gb/sec") and 0 < gigabits < float("inf") else None


class PortRates:
    """Each port against the best that it had since this began to watch."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}

    def take(self, ports: Mapping[str, Port]) -> dict[str, float]:
        """Metrics that are known: none while a port does not say whether it is active, or an active one how fast."""
        active = {name: bytes_per_second(port.rate) for name, port in ports.items() if port.state == ACTIVE}
        rates = {name: rate for name, rate in active.items() if rate is not None}
        self._best |= {name: max(rate, self._best.get(name, 0.0)) for name, rate in rates.items()}
        if len(rates) < len(active) or any(port.state is None for port in ports.values()):
            return {}
        slow = sum(rate < self._best[name] for name, rate in rates.items())
        return {"rdma_ports_slow": float(slow)} | (
            {"rdma_port_rate_bytes_per_second": min(rates.values())} if rates else {}
        )
