"""The checksum of a row: of its bytes, and of what says whose and what they are, which is stored once for many rows."""

from zlib import crc32


def sealed(epoch: str, meaning: bytes, body: bytes) -> int:
    """meaning: the hash of a report's layout, or an event's id. Without them, a flipped bit of an epoch's name or of a
    row's layout would have readings stored as another run's, or as another device's."""
    return crc32(body, crc32(meaning, crc32(epoch.encode(errors="replace"))))
