"""Who has noticed whose absence, as each side tells it itself."""

from fallow_client.client import Client
from tests.faults.programs import Node, Scene

NOTICED_S = 10.0
"""Whoever is cut off, hangs or has ended is missed within this."""
QUICK = ("idle.confirm_s = 2", "idle.confirm_readings = 3", "idle.lost_s = 8")
"""Settings of a collector under which a node is lost that soon."""


def idle(scene: Scene) -> int:
    with Client(scene.collector.url) as client:
        return sum(group.idle for group in client.capacity().groups)


def losses(node: Node) -> int:
    """How often its agent has noticed that the collector is not there any more."""
    return node.agent.log.read_text(encoding="utf-8").count("uplink lost")


def is_lost(scene: Scene, node: Node) -> bool:
    found = scene.collector.node(node.name)
    return found is not None and not found.connected and found.freshness == "lost"


def is_back(scene: Scene, node: Node) -> bool:
    found = scene.collector.node(node.name)
    return found is not None and found.connected and found.freshness == "live"
