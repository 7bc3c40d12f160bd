"""One round: Slurm is read, imported and, where wanted, nodes are drained and resumed."""

import getpass
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from fallow_client.calls import Call, Where
from fallow_client.client import Client
from fallow_client.slurm import drain, scontrol
from fallow_client.slurm.command import scontrol as run
from fallow_client.slurm.errors import SlurmError
from fallow_client.slurm.ledger import ledger_of
from fallow_proto import api, dispatch
from fallow_proto.slurm import gres

LEDGER = "slurm"

log = logging.getLogger(__name__)


class Read(NamedTuple):
    """at: monotonic, before the first question to Slurm."""

    at: float
    nodes: list[scontrol.SlurmNode]
    jobs: list[scontrol.SlurmJob]
    conf: gres.GresConf


def read() -> Read:
    """Slurm's state. Jobs come first: what a node says is used is then never older than who uses it.

    Raises SlurmError.
    """
    at = time.monotonic()
    conf = scontrol.gres_conf_path(run("show", "config"))
    try:
        files = gres.parse(Path(conf).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SlurmError(f"{conf} cannot be read: {error}; expected it beside slurm.conf on this machine") from error
    jobs = scontrol.jobs(run("show", "job", "-d", "-o"))
    return Read(at, scontrol.nodes(run("show", "node", "-d", "-o")), jobs, files)


def put(client: Client, found: Read) -> dispatch.LedgerState:
    """Import it. Raises FallowError."""
    taken = ledger_of(found.nodes, found.jobs, found.conf, time.monotonic() - found.at)
    body = msgspec.json.encode(taken)
    return client.ask(Call("PUT", f"/api/v1/ledgers/{LEDGER}", dispatch.LedgerState, body=body))


class Drainer:
    """Remembers what it drained lately: a node that was resumed since has lost its reason, and counts all the same."""

    def __init__(self) -> None:
        self._drained: dict[str, float] = {}  # node -> monotonic

    def round(self, client: Client, found: Read) -> list[drain.Action]:
        """Do what the policy says; returns what was done. Raises FallowError."""
        planned = drain.plan(self.facts(client, found))
        for line in planned.held_back:
            log.warning("%s", line)
        for action in planned.actions:
            perform(action)
            if isinstance(action, drain.Drain):
                self._drained[action.node] = time.monotonic()
        return planned.actions

    def facts(self, client: Client, found: Read) -> drain.Facts:
        asked = time.monotonic()
        us = getpass.getuser()
        slurm = [node for node in found.nodes if node.gres or node.problem]
        page = client.devices(Where(phase=("unmanaged", "faulty"), device_class=("intelligent",)), limit=1)
        as_of = datetime.fromisoformat(page.as_of)
        suspects = [
            (device, (as_of - datetime.fromisoformat(device.since)).total_seconds())
            for device in client.all_devices(Where(phase=("unmanaged", "faulty"), device_class=("intelligent",)))
            if device.ledger == LEDGER
        ]
        drained = tuple(node.name for node in slurm if drain.is_ours(node, us))
        ours = client.all_devices(Where(node=drained, device_class=("intelligent",))) if drained else ()
        now = time.monotonic()
        recent = {node for node, at in self._drained.items() if now - at <= drain.WINDOW_S}
        recent |= drain.lately(slurm, us, datetime.now().astimezone())
        return drain.Facts(
            slurm=slurm, reading_age_s=now - found.at, answer_age_s=now - asked, suspects=suspects,
            freshness={node.node: node.freshness for node in _all_nodes(client)},
            ours=[device for device in ours if device.ledger == LEDGER], recent=frozenset(recent), us=us,
        )


def perform(action: drain.Action) -> None:
    """Raises SlurmError."""
    match action:
        case drain.Drain(node, reason):
            run("update", f"nodename={node}", "state=drain", f"reason={reason}")
            log.warning("drained node=%s reason=%r", node, reason)
        case drain.Resume(node):
            run("update", f"nodename={node}", "state=resume")
            log.warning("resumed node=%s", node)


def _all_nodes(client: Client) -> Iterator[api.Node]:
    cursor: str | None = None
    while True:
        page = client.nodes(cursor=cursor)
        yield from page.items
        if (cursor := page.next) is None:
            return
