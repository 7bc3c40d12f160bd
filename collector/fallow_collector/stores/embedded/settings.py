"""[store.embedded] of collector.toml."""

from typing import Annotated

import msgspec

_Positive = Annotated[float, msgspec.Meta(gt=0)]


class EmbeddedSettings(msgspec.Struct, frozen=True):
    """How much of the disk the store may hold, and for how long."""

    max_gib: _Positive = 50  # all its files together; the oldest rows go first
    min_free_gib: Annotated[float, msgspec.Meta(ge=0)] = 5  # what it leaves free on its file system
    raw_days: _Positive = 7  # rows as they came
    rollup_days: _Positive = 400  # one row a minute
