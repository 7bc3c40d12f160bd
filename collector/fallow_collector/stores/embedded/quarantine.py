"""Damaged files are set aside, not deleted: somebody may want to look, or to salvage."""

from pathlib import Path

_KEPT = 16  # a disk that fails damages many, and they must not fill it


class Quarantine:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = 0  # since the start of the process

    def take(self, path: Path) -> Path | None:
        """Move a file in; say where it is now, None if there was none. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        kept = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        for oldest in kept[: max(0, len(kept) + 1 - _KEPT)]:
            oldest.unlink()
        number = 1
        while (place := self._folder / f"{path.name}.{number}").exists():
            number += 1
        self.files += 1
        try:
            path.rename(place)
        except FileNotFoundError:
            return None
        return place
