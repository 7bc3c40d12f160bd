"""A collector that tells receivers of nodes that are lost, and what they were told."""

from collections import defaultdict
from pathlib import Path

from tests.e2e.hook import Hook
from tests.e2e.programs import Collector

NODE_LOST = """
[[rule]]
name = "NodeLost"
over = "node"
expr = "seen AND NOT connected"
for_s = 1
severity = "critical"
annotations.summary = "$node is lost"
"""


def collector(folder: Path, **receivers: Hook) -> Collector:
    """One that tells each receiver of each lost node by itself, at once."""
    rules = folder / "rules.toml"
    rules.write_text(NODE_LOST)
    return Collector(
        folder, f'alerts.rules = ["{rules}"]', "alerts.interval_s = 1", "alerts.group_wait_s = 0",
        "alerts.group_interval_s = 1", 'alerts.group_by = ["alertname", "node"]',
        *(line for name, hook in receivers.items() for line in (
            "[[alerts.receivers]]", f'name = "{name}"', 'type = "webhook"', f'url = "{hook.url}"',
            "matchers = ['alertname=\"NodeLost\"']",
        )),
    )


def connected(running: Collector, nodes: int) -> bool:
    return sum(node["connected"] for node in running.fallow_json("nodes")["items"]) == nodes


def ids(hook: Hook) -> dict[tuple[str, str, str], set[str]]:
    """By node, status and beginning of an alert, the ids of the messages that told of it."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for one in hook.told:
        for alert in one.message["alerts"]:
            found[alert["labels"]["node"], alert["status"], alert["startsAt"]].add(one.identity)
    return found
