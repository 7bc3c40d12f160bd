"""What the collector said it has for good, to hold its store against."""

import json
from collections.abc import Iterable
from pathlib import Path

from fallow_sim.cohort import Cohort


def write_acked(path: Path, fleet: Iterable[Cohort]) -> None:
    """One JSON object a line for each node: its devices, how many reports it made, which of them were acknowledged.

    Report number n is of the moment first + (n - 1) * interval_s, unix seconds. acked: ranges, both ends included.
    """
    with path.open("w", encoding="utf-8") as file:
        for cohort in fleet:
            step = cohort.plan.devices
            for position, node in enumerate(cohort.nodes):
                file.write(json.dumps({
                    "devices": cohort.uuids[position * step : (position + 1) * step], "first": cohort.first,
                    "interval_s": cohort.plan.interval_s, "made": node.newest, "acked": list(node.acked),
                }) + "\n")
