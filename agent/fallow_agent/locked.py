"""Who holds the lock of a file, looked up without touching the lock: to try it would keep an agent's own try out."""

from pathlib import Path

LOCKS = Path("/proc/locks")


def holder(path: Path, locks: str) -> int | None:
    """The process that wrote its number into the file and holds its flock; None: there is none. locks: what LOCKS says,
    see proc_locks(5). Its device numbers are not those of stat() on every file system, so the pid is what is compared.
    """
    try:
        inode, pid = path.stat().st_ino, int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    for words in map(str.split, locks.splitlines()):
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{inode}") and words[4] == str(pid):
            return pid
    return None
