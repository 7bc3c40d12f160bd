"""Where in a TOML file its tables and keys stand, which tomllib does not say."""

import re
from collections.abc import Iterator, Mapping

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([\"']?)([A-Za-z0-9_-]+)\1\s*[=.]")
_QUOTES = re.compile(r'"""|\'\'\'')


class Lines:
    """Of arrays of tables (`[[rule]]`). A table that is written otherwise, as `rule = [{…}]`, has no line."""

    def __init__(self, text: str) -> None:
        self._found: dict[str, list[dict[str, int]]] = {}
        block: dict[str, int] = {}
        prefix = ""
        for number, line in _outside_texts(text):
            if header := _HEADER.match(line):
                name = header[1]
                if line.lstrip().startswith("[["):
                    block, prefix = {"": number}, ""
                    self._found.setdefault(name, []).append(block)
                else:
                    prefix = name.partition(".")[2]
                    block.setdefault(prefix, number)
            elif key := _KEY.match(line):
                block.setdefault(f"{prefix}.{key[2]}" if prefix else key[2], number)

    def of(self, table: str, position: int, key: str = "") -> int | None:
        """The line, counted from 1, of a key (`labels.team`: of that, or of `labels`) in one of the tables of a name,
        counted from 0; of its header where the key is not found. None: not known."""
        blocks = self._found.get(table, [])
        if position >= len(blocks):
            return None
        return _nearest(blocks[position], key)


def _nearest(block: Mapping[str, int], key: str) -> int:
    while key and key not in block:
        key = key.rpartition(".")[0]
    return block[key]


def _outside_texts(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that do not begin within a text of several lines."""
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not closing:
            yield number, line
        for quotes in _QUOTES.findall(line):
            closing = "" if quotes == closing else closing or quotes
