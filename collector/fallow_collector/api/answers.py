"""What the HTTP API asks of the rest of the collector. Whoever answers decides nothing about HTTP."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from fallow_proto import api


class Where(NamedTuple):
    """Filters; an empty one matches everything, and a list matches any of its words."""

    site: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    device_class: tuple[str, ...] = ()
    vendor: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    phase: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A history question; times in unix seconds, step 0 for the rows as they came."""

    uuid: str
    columns: tuple[str, ...]
    start: float
    end: float
    step: float


class Unknown(LookupError):
    """No such device, node or column; the message says which."""


class Refused(ValueError):
    """What was asked for cannot be done as things are; the message says why and what would help."""


class Unavailable(RuntimeError):
    """It cannot be answered now, the store being down for one; the message says why, and asking again makes sense."""


class Answers(Protocol):
    def capacity(self, where: Where, precisions: Sequence[str] = api.FLOPS_SHOWN) -> api.Capacity: ...

    def totals(self, where: Where, by: Sequence[str], precision: str) -> api.Totals:
        """by: of api.TOTAL_KEYS; the class is always added."""

    def devices(self, where: Where, limit: int, cursor: str | None) -> api.Page[api.Device]:
        """Sorted by uuid; the cursor is the last uuid of the page before."""

    def device(self, uuid: str) -> api.DeviceDetail: ...

    def explain(self, uuid: str) -> api.Explanation: ...

    def timeline(self, uuid: str, start: float, end: float, limit: int) -> api.Page[api.Moment]:
        """Newest first, from start to before end (unix seconds). complete: changes of phase are known from start on."""

    def nodes(self, where: Where, limit: int, cursor: str | None) -> api.Page[api.Node]:
        """Sorted by name."""

    def history(self, asked: Asked) -> api.History:
        """Blocks for as long as the store needs: call it in a thread. Raises Unavailable when the store cannot."""

    def declare(self, declaration: api.Declaration) -> api.DeclarationResult: ...

    def retire(self, uuid: str) -> None:
        """Forget a device that is absent. Raises Refused while it is seen."""

    def accept_baseline(self, uuid: str) -> api.Baseline:
        """Take what the device draws and holds now as what it draws and holds when idle."""

    def readiness(self) -> list[str]:
        """Why the collector cannot do its work now; empty when it can."""

    def own_metrics(self) -> Iterable[tuple[str, str, str, dict[str, str], float]]:
        """(name, "gauge" or "counter", help, labels, value) about the collector itself."""

    def device_metrics(self, where: Where) -> Iterable[bytes]:
        """Prometheus text of the devices, in chunks."""

    def site_of(self, uuid: str) -> str | None:
        """Of a device; None: there is none of that name."""

    def site_of_node(self, node: str) -> str | None: ...
