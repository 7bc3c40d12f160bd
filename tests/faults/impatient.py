"""The agent, but it dials again at once, so that thousands of connections can be cut within minutes.

    python impatient.py /path/to/fallow-agent --config FILE
"""

import sys

from fallow_agent.cli import main
from fallow_agent.uplink import backoff

if __name__ == "__main__":
    backoff.FIRST_S = backoff.LONGEST_S = 0.005
    sys.argv = sys.argv[1:]
    sys.exit(main())
