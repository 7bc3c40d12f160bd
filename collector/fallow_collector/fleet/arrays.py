"""The arrays of the roster, a row a device: what each is called, and what it holds before anything is known."""

import numpy as np

from fallow_proto.metrics import NAMES

ARRAYS: tuple[tuple[str, str, int, float], ...] = (
    ("alive", "?", 0, False),
    ("present", "?", 0, False),
    ("declared", "?", 0, False),
    ("host", "?", 0, False),
    ("unread", "?", 0, False),
    ("owner", "i4", 0, -1),
    ("parent", "i4", 0, -1),
    ("group", "i4", 0, 0),
    ("values", "f8", len(NAMES), np.nan),
    ("good_until_ms", "i8", len(NAMES), -1),
    ("last_ms", "i8", 0, -1),
    ("interval_s", "f8", 0, 1.0),
    ("seen_at", "f8", 0, -np.inf),
    ("allocation", "u1", 0, 0),
    ("service", "u1", 0, 0),
    ("verdict", "u1", 0, 0),
    ("foreign", "?", 0, False),
    ("imported", "u1", 0, 0),
    ("ledger", "i2", 0, 0),
    ("allocated_at", "f8", 0, -np.inf),
)
