"""A commit of the embedded store that fails though it is on the disk, in one process with falter.c loaded: its sync
fails, and so does cutting off what it wrote. Then the same batch again, as the writer does.

    python -m tests.faults.doubted PLAN FOLDER

A line of JSON: what the commit was told, and how many rows there are in the end, of two batches of one row.
"""

import errno
import json
import sys
from pathlib import Path

from fallow_collector.stores.embedded import EmbeddedStore
from fallow_collector.stores.store import StoreError
from tests.collector.stores.contract import GPU, START, batch, rows
from tests.faults.falter import Call, Falter
from tests.faults.faltering import settings


def main(plan: str, folder: str) -> None:
    store, falter = EmbeddedStore(Path(folder), settings()), Falter(Path(plan))
    store.open()
    first, second = (batch(rows([at], {"power_watts": [at]}), lo=at, series=[GPU]) for at in (1, 2))
    store.write(first, START + 1)
    falter.plan(Call.FDATASYNC | Call.FTRUNCATE, Path(folder) / "hot", errno.EIO, lasting=True)
    try:
        store.write(second, START + 2)
        told = ""
    except StoreError as error:
        told = str(error)
    falter.end()
    committed = store.write(second, START + 3).committed
    print(json.dumps({"told": told, "held": store.facts()["hot_rows"], "committed": committed == list(second.spans)}))
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
