"""Names of ledgers."""

import re

OWN = "fallow"
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def complaint_about(name: str) -> str:
    """Why this cannot be the name of an imported ledger; empty if it can."""
    if name == OWN:
        return f"ledger {name!r} is Fallow's own, of leases; expected the name of a scheduler, such as slurm"
    if not _WORD.fullmatch(name):
        return f"ledger {name!r}: expected a word of at most 64 lower-case letters, digits, - and _, such as slurm"
    return ""
