"""A node's readers let go of its devices, as an operator asks: told to its agent, and waited for."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers.numbers import rfc3339
from fallow_collector.api.answers import Refused, Unavailable, Unknown
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.registry import Node
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.phase import ALLOCATIONS
from fallow_proto import api
from fallow_proto.quiescing import Quiesced, QuiesceRequest
from fallow_proto.states import Allocation
from fallow_proto.v1 import telemetry_pb2 as pb

ANSWER_S = 15.0
"""How long the answer waits for the agent: a read that is under way may take its deadline of 5 s."""

_HELD = [ALLOCATIONS.index(each) for each in (Allocation.RESERVED, Allocation.LEASED, Allocation.RELEASING)]
_HOST = "host"  # no vendor's

log = logging.getLogger(__name__)


class Quiescing:
    """Implements api.quiesce.Quieter. send: to a node's agent; False: it has no stream. changed: has every answer see
    what was changed."""

    def __init__(
        self, fleet: Fleet, engine: Engine, send: Callable[[str, pb.ToAgent], bool], changed: Callable[[], object],
        holder_of: Callable[[int], str], answer_s: float = ANSWER_S,
    ) -> None:
        self._fleet = fleet
        self._engine = engine
        self._send = send
        self._changed = changed
        self._holder_of = holder_of
        self._answer_s = answer_s
        self._waiting: defaultdict[str, list[asyncio.Event]] = defaultdict(list)  # by node

    def heard(self, hello: pb.Hello) -> None:
        """A node said anew how its readers are."""
        for waiting in self._waiting.get(hello.node, ()):
            waiting.set()

    async def quiesce(self, node: str, request: QuiesceRequest, by: str) -> Quiesced:
        found = self._find(node)
        held = self._held(found)
        if held and not request.force:
            who = ", ".join(f"{self._fleet.identities[row].uuid} by {self._holder_of(row) or 'its scheduler'}"
                            for row in held)
            raise Refused(
                f"devices of node {node} are held: {who}. Their work would go on and nobody would watch it; wait for "
                f"its end, or ask with force"
            )
        self._ask(node, pb.Quiesce(for_s=request.for_s, by=by or "the collector"))
        # Until its reports say so, it must not be given away on evidence of before.
        self._engine.restart(np.array(found.rows, dtype=np.intp))
        self._changed()
        return await self._until(found, lambda reader: reader.state in ("quiesced", "absent"))

    async def resume(self, node: str, by: str) -> Quiesced:
        found = self._find(node)
        self._ask(node, pb.Quiesce(by=by))
        return await self._until(found, lambda reader: reader.state != "quiesced")

    def _find(self, node: str) -> Node:
        found = self._fleet.node(node)
        if found is None:
            raise Unknown(f"there is no node {node}; `fallow nodes` lists those that there are")
        return found

    def _ask(self, node: str, quiesce: pb.Quiesce) -> None:
        if not self._send(node, pb.ToAgent(quiesce=quiesce)):
            raise Unavailable(
                f"the agent of node {node} is not connected; on the node itself, `fallow-agent quiesce` and "
                f"`fallow-agent resume` need no collector"
            )
        log.info("event=quiesce node=%s for_s=%.0f by=%r", node, quiesce.for_s, quiesce.by)

    async def _until(self, node: Node, well: Callable[[api.Reader], bool]) -> Quiesced:
        """The answer, as soon as all readers are as wanted."""
        news = asyncio.Event()
        self._waiting[node.name].append(news)
        try:
            async with asyncio.timeout(self._answer_s):
                while not all(map(well, _readers(node))):
                    news.clear()
                    await news.wait()
        except TimeoutError:
            pass  # the answer says that it is not done
        finally:
            self._waiting[node.name].remove(news)
            if not self._waiting[node.name]:
                del self._waiting[node.name]
        readers = _readers(node)
        held = [self._fleet.identities[row].uuid for row in self._held(node)]
        return Quiesced(node=node.name, done=all(map(well, readers)), readers=readers, held=held)

    def _held(self, node: Node) -> list[int]:
        rows: NDArray[np.intp] = np.array(node.rows, dtype=np.intp)
        held: list[int] = rows[np.isin(self._fleet.owned(rows), _HELD) & ~self._fleet.host[rows]].tolist()
        return held


def _readers(node: Node) -> list[api.Reader]:
    return [
        api.Reader(name=each.name, state=each.state, message=each.message,
                   since=rfc3339(each.since_ms / 1000) if each.since_ms else None)
        for each in node.readers if each.name != _HOST
    ]
