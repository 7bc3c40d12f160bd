"""Where the readers' locks live when nobody has prepared the folder for them.

systemd makes the service's folder. On a machine without the service, such as a laptop, it is not there and a plain
user cannot make it; then the user's own runtime folder does, because no agent since the machine started can hold a
lock where there is no folder.
"""

import os
from pathlib import Path

from fallow_agent.config import RUN_DIR


def chosen(configured: str, own: str, default: str = RUN_DIR) -> Path:
    """The folder to use. own: $XDG_RUNTIME_DIR, empty where there is none. What was set on purpose is not replaced."""
    folder = Path(configured)
    # Path.exists raises where one may not look.
    can_be_had = os.path.exists(folder) or os.access(folder.parent, os.W_OK | os.X_OK)  # noqa: PTH110
    return Path(own, "fallow") if own and configured == default and not can_be_had else folder
