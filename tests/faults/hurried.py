"""The collector, but its store closes a slice after a second, and makes one file of those of a few: in a minute it does
what takes hours else.

    python hurried.py /path/to/fallow-collector --config FILE
"""

import sys

from fallow_collector.cli import main
from fallow_collector.stores.embedded import closing, store

if __name__ == "__main__":
    store.SLICE_S = 1.0
    closing._HOUR_S = 5
    sys.argv = sys.argv[1:]
    sys.exit(main())
