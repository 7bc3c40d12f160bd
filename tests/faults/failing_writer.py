"""The collector, but what its writer does after the third commit raises what nobody expects: a mistake of its own.

    python failing_writer.py /path/to/fallow-collector --config FILE
"""

import sys
from itertools import count

from fallow_collector import writer
from fallow_collector.cli import main
from fallow_collector.stores.store import Outcome

_joined, _times = writer.joined, count(1)


def joined(first: Outcome, second: Outcome) -> Outcome:
    if first.committed and next(_times) == 3:
        raise RuntimeError("a mistake in the writer's thread")
    return _joined(first, second)


if __name__ == "__main__":
    writer.joined = joined
    sys.argv = sys.argv[1:]
    sys.exit(main())
