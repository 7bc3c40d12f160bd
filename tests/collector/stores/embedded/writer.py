"""A process that writes until it is killed: `python writer.py DIRECTORY FIRST`, one line for each batch stored.

A batch is a second of two devices, which hold the number of the batch; the store is told that 60 s have passed between
two of them, so that slices are closed and compacted all the time.
"""

import sys
from itertools import count
from pathlib import Path

from fallow_collector.stores.embedded import EmbeddedSettings, EmbeddedStore
from tests.collector.stores.contract import GPU, START, batch, rows

OTHER = GPU._replace(uuid="GPU-2")
SECONDS_PER_BATCH = 60


def main(directory: str, first: str) -> None:
    store = EmbeddedStore(Path(directory), EmbeddedSettings(min_free_gib=0))
    store.open()
    print("open", flush=True)
    for number in count(int(first)):
        at = number * SECONDS_PER_BATCH
        store.write(batch(
            rows([at], {"power_watts": [number]}), rows([at], {"power_watts": [number]}, series=1),
            lo=number, series=[GPU, OTHER],
        ), START + at)
        print(number, flush=True)
        store.maintain(START + at)


if __name__ == "__main__":
    main(*sys.argv[1:])
