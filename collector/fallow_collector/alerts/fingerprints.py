"""Fingerprints of many alerts at once: the columns of their labels, hashed byte by byte together."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.alerts.alert import OFFSET, PRIME


def fingerprints(count: int, labels: Mapping[str, str | Sequence[str]]) -> list[str]:
    """`alert.fingerprint` of each of `count` rows. labels: by name one value for all, or one a row; empty: no label."""
    hashes = np.full(count, OFFSET, np.uint64)
    for name in sorted(labels):
        values = labels[name]
        if isinstance(values, str):
            _fold(hashes, b"%s\xff%s\xff" % (name.encode(), values.encode()) if values else b"")
        else:
            _fold_column(hashes, name, values)
    return [f"{value:016x}" for value in hashes.tolist()]


def _fold(hashes: NDArray[np.uint64], text: bytes) -> None:
    for byte in text:
        hashes ^= np.uint64(byte)
        hashes *= np.uint64(PRIME)


def _fold_column(hashes: NDArray[np.uint64], name: str, values: Sequence[str]) -> None:
    texts = [b"%s\xff%s\xff" % (name.encode(), value.encode()) if value else b"" for value in values]
    lengths = np.array([len(text) for text in texts])
    longest = int(lengths.max(initial=0))
    if not longest:
        return
    # Column-wise, so that each step goes through memory in order.
    characters = np.array(texts, f"S{longest}").view(np.uint8).reshape(len(texts), longest).T.copy()
    for position, column in enumerate(characters):
        folded = (hashes ^ column) * np.uint64(PRIME)
        hashes[:] = np.where(lengths > position, folded, hashes)
