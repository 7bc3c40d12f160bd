"""Named points of the path of the data at which a test has a program killed: what a crash just there leaves behind must
be made good by the next start. Precedent: gofail in etcd, fail-rs in TiKV.

FALLOW_FAILPOINT=store.after_commit:3 is SIGKILL when that point is reached for the third time; without a number, at
the first. Unless the variable names a point, reaching one is a call and a comparison.
"""

import os
import signal
from enum import StrEnum

VARIABLE = "FALLOW_FAILPOINT"


class Point(StrEnum):
    SPOOL_BEFORE_COMMIT = "spool.before_commit"
    SPOOL_BEFORE_TRIM = "spool.before_trim"  # in the transaction: new reports are in, acknowledged ones not out
    SPOOL_AFTER_TRIM = "spool.after_trim"
    SPOOL_AFTER_COMMIT = "spool.after_commit"
    UPLINK_BEFORE_SEND = "uplink.before_send"
    UPLINK_AFTER_SEND = "uplink.after_send"
    UPLINK_AFTER_RECEIVE = "uplink.after_receive"  # an acknowledgement that the spool has not heard of

    WRITER_BEFORE_WRITE = "writer.before_write"
    STORE_BEFORE_COMMIT = "store.before_commit"  # in the transaction: rows and ranges are in
    STORE_AFTER_COMMIT = "store.after_commit"
    WRITER_AFTER_WRITE = "writer.after_write"  # stored, by whatever store, and nobody was told
    INGEST_BEFORE_SEND = "ingest.before_send"  # an acknowledgement
    INGEST_AFTER_SEND = "ingest.after_send"
    EVENTS_AFTER_COMMIT = "events.after_commit"

    SLICE_AFTER_BEGIN = "slice.after_begin"
    SLICE_AFTER_WRITE = "slice.after_write"  # the file is there, and its rows are still in the hot slice
    SLICE_AFTER_CLOSE = "slice.after_close"  # the manifest has the file, and the hot slice is still there
    HOUR_AFTER_WRITE = "hour.after_write"
    HOUR_AFTER_REPLACE = "hour.after_replace"

    LEASES_BEFORE_COMMIT = "leases.before_commit"
    LEASES_AFTER_COMMIT = "leases.after_commit"  # decided, and nobody was answered

    ALERTS_BEFORE_COMMIT = "alerts.before_commit"  # in the transaction
    ALERTS_AFTER_COMMIT = "alerts.after_commit"  # in the outbox, and nobody was told
    ALERTS_BEFORE_SEND = "alerts.before_send"
    ALERTS_AFTER_SEND = "alerts.after_send"  # the receiver has answered, and that is not noted


def _armed(wanted: str) -> tuple[str, int]:
    """Raises ValueError: a misspelt point would never be reached, and its test prove nothing."""
    if not wanted:
        return "", 0
    name, _, times = wanted.partition(":")
    return Point(name), int(times or 1)


_point, _times = _armed(os.environ.get(VARIABLE, ""))


def reached(point: Point) -> None:
    """Any thread. Does not return if this is the point, and the time, that the environment names."""
    global _times
    if point != _point:
        return
    _times -= 1
    if _times == 0:
        os.kill(os.getpid(), signal.SIGKILL)
