"""What SQLite does not tell of its write-ahead log: from a damaged frame on it passes over all that was committed, and
that is gone (https://sqlite.org/fileformat2.html#the_write_ahead_log).
"""

import struct
from pathlib import Path

_HEADER_BYTES = 32  # magic, format, size of pages, checkpoints, two salts, two checksums
_FRAME_BYTES = 24  # before its page: page, pages of the whole database if it ends a commit, two salts, two checksums
_BIG_ENDIAN = 1  # in the magic number: of which words the checksums are


def lost_commits(log: Path, page_bytes: int, usable: int) -> int:
    """How many commits there are behind the first `usable` frames, which are all that SQLite could use. A commit that a
    kill cut short is none, nor is what an earlier use of the file left there. Raises OSError."""
    try:
        size, file = log.stat().st_size, log.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        header, first = file.read(_HEADER_BYTES), file.read(_FRAME_BYTES)
        if len(first) < _FRAME_BYTES:
            return 0
        salts = header[16:24] if _is_whole(header) else first[8:16]
        step = _FRAME_BYTES + page_bytes
        lost = 0
        for at in range(_HEADER_BYTES + usable * step, size - step + 1, step):
            file.seek(at)
            frame = file.read(_FRAME_BYTES)
            lost += frame[4:8] != bytes(4) and frame[8:16] == salts
        return lost


def _is_whole(header: bytes) -> bool:
    """Whether the header's checksums are right."""
    words = struct.unpack(">6I" if header[3] & _BIG_ENDIAN else "<6I", header[:24])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.unpack(">2I", header[24:]) == (first, second)
