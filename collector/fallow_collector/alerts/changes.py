"""What is to be written to alerts.sqlite: per table, the rows that changed since the last transaction."""

from collections.abc import Callable, Container
from enum import StrEnum

import msgspec

from fallow_collector.alerts.notification import Notification


class Table(StrEnum):
    """Each is a key and a row in JSON."""

    ALERTS = "alerts"  # by fingerprint
    TOLD = "told"  # what a receiver knows of a group; by both
    OUTBOX = "outbox"  # by id of notification
    ATTEMPTS = "attempts"  # at sending it; by the same
    SILENCES = "silences"  # by id
    DEAD = "dead"  # letters; by id of notification


class Attempts(msgspec.Struct, frozen=True, kw_only=True):
    """That failed. retry_at_s: on the clock of the alerts."""

    count: int = 0
    retry_at_s: float = 0.0
    problem: str = ""


class DeadMark(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a dead letter. at_s: on the clock of the alerts; at: unix seconds."""

    receiver: str
    at_s: float
    at: float
    problem: str


class DeadLetter(DeadMark, frozen=True, kw_only=True):
    notification: Notification


Note = Callable[[Table, str, msgspec.Struct | None], None]
"""Takes what `Changes.put` takes."""


class Changes:
    """None for a row: it is to be deleted."""

    def __init__(self) -> None:
        self.rows: dict[Table, dict[str, msgspec.Struct | None]] = {table: {} for table in Table}

    def __bool__(self) -> bool:
        return any(self.rows.values())

    def put(self, table: Table, key: str, row: msgspec.Struct | None) -> None:
        self.rows[table][key] = row

    def keys(self, table: Table) -> Container[str]:
        return self.rows[table].keys()

    def followed_by(self, newer: "Changes") -> "Changes":
        """Both in one; what is newer wins."""
        both = Changes()
        for table in Table:
            both.rows[table] = {**self.rows[table], **newer.rows[table]}
        return both
