"""Many small offers as one batch: a store's cost lies in statements and bodies, not in rows. Pure."""

from collections.abc import Sequence

import numpy as np

from fallow_collector.series import Source, Span
from fallow_collector.stores.store import Outcome, Rows


def merged_rows(rows: Sequence[Rows]) -> list[Rows]:
    """Rows of one set of columns together, in their order: a second's micro-batches are a few blocks, not forty."""
    shapes: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Rows]] = {}
    for block in rows:
        shapes.setdefault((block.gauge_names, block.counter_names), []).append(block)
    return [
        blocks[0] if len(blocks) == 1 else Rows(
            time_ms=np.concatenate([block.time_ms for block in blocks]),
            series=np.concatenate([block.series for block in blocks]),
            gauge_names=gauge_names,
            gauges=np.concatenate([block.gauges for block in blocks]),
            counter_names=counter_names,
            counters=np.concatenate([block.counters for block in blocks]),
        )
        for (gauge_names, counter_names), blocks in shapes.items()
    ]


def merged_spans(spans: Sequence[Span]) -> list[Span]:
    """The same numbers as fewer spans: a node's successive reports are one."""
    merged: list[Span] = []
    newest: dict[Source, int] = {}  # where a source's newest span stands
    for span in spans:
        position = newest.get(span.source)
        if position is not None and merged[position].hi + 1 == span.lo:
            merged[position] = Span(span.source, merged[position].lo, span.hi)
        else:
            newest[span.source] = len(merged)
            merged.append(span)
    return merged


def joined(first: Outcome, second: Outcome) -> Outcome:
    """What two steps did, as one."""
    return Outcome(
        committed=first.committed + second.committed,
        resend=first.resend + second.resend,
        refused_rows=first.refused_rows + second.refused_rows,
        message=first.message or second.message,
    )
