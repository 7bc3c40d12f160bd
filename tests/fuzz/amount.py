"""How much the fuzz tests try: a bounded time within `make test`, long under FALLOW_FAULTS=long."""

import os

LONG = os.environ.get("FALLOW_FAULTS", "") == "long"


def inputs(short: int, long: int) -> int:
    return long if LONG else short
