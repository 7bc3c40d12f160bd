"""What Huawei does about each fault of an Ascend chip: dcmi_faults.csv, by the code that DCMI tells.

The table is that of Huawei's own device plugin (github.com/Ascend/mind-cluster, Apache-2.0,
component/ascend-device-plugin/build/faultCode.json at 018a2e0), under our names of its classes. A code that stands in
two of its classes has the graver one.
"""

import csv
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Handling(StrEnum):
    """In order of gravity."""

    NONE = "none"
    SUB_HEALTH = "sub_health"
    RESTART_REQUEST = "restart_request"
    RESTART_JOB = "restart_job"
    RESET_WHEN_FREE = "reset_when_free"
    RESET = "reset"
    ISOLATE = "isolate"  # take it out of service


def handling_of(code: int) -> Handling | None:
    """None: a code that the table does not have."""
    return catalogue().get(code)


@cache
def catalogue() -> Mapping[int, Handling]:
    lines = files("fallow_agent.readers").joinpath("dcmi_faults.csv").read_text(encoding="ascii").splitlines()
    return {int(row["code"], 16): Handling(row["handling"]) for row in csv.DictReader(lines)}
