"""What was really so, to hold a collector's answers against."""

import json
from collections.abc import Iterable
from pathlib import Path

from fallow_sim.cohort import Cohort


def write_truth(path: Path, fleet: Iterable[Cohort], start: float, end: float) -> None:
    """One JSON object a line for each stretch in which a device had no job: uuid, free_from, free_to (unix seconds)."""
    with path.open("w", encoding="utf-8") as file:
        for cohort in fleet:
            for device, uuid in enumerate(cohort.uuids):
                for free_from, free_to in cohort.load.free(device, start, end):
                    file.write(json.dumps({"uuid": uuid, "free_from": free_from, "free_to": free_to}) + "\n")
