"""A program whose wall clock is stepped while it runs: by as many seconds as a file says.

    python stepped.py FILE /path/to/fallow-collector --config FILE
"""

import runpy
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    by, true = Path(sys.argv[1]), time.time
    time.time = lambda: true() + float(by.read_text(encoding="utf-8") or 0)
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
