"""The text of a file of rules: TOML that people write, read with bounds."""

import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
"""tomllib takes 0.2 s and more for so much of it."""


class TextError(ValueError):
    """The message says what is wrong with the file, and where in it."""


def text_of(path: Path) -> str:
    """Raises TextError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise TextError(f"cannot be read: {error.strerror}; expected a TOML file") from error
    if len(content) > MOST_BYTES:
        raise TextError(f"is longer than {MOST_BYTES:,} bytes; expected a TOML file of rules")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextError(f"line {line}: is not UTF-8: {error.reason}; expected TOML, which is") from error


def document_of(text: str) -> dict[str, Any]:
    """Raises TextError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TextError(f"is not TOML: {error}") from error
    except RecursionError as error:  # tomllib calls itself for what stands within
        raise TextError("is not TOML that can be read: tables or lists stand too deep within each other") from error
