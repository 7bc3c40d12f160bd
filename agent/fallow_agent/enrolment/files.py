"""Where the node's certificate lies: one file with its key, so that one rename replaces both (as kubelet keeps them),
and beside it the authorities to trust.

The authorities are written first: with those of the new certificate the old one still works, not the other way round.
"""

import os
import pwd
from pathlib import Path
from typing import NamedTuple

from fallow_agent.config import Settings
from fallow_agent.errors import EnrolmentError
from fallow_proto.durable import replace


class Files(NamedTuple):
    ca: Path
    identity: Path


def files_of(settings: Settings) -> Files:
    """Those of [tls], or in the agent's own folder where none are named. Raises EnrolmentError."""
    tls = settings.tls
    if not tls.cert:
        folder = Path(settings.spool.dir) / "tls"
        return Files(folder / "ca.pem", folder / "agent.pem")
    if tls.cert != tls.key:
        raise EnrolmentError(
            f"[tls] cert = {tls.cert!r} and key = {tls.key!r} are two files; expected one for both, which can be "
            f"replaced at once: name the same file for both, or leave [tls] empty"
        )
    return Files(Path(tls.ca), Path(tls.cert))


def write(files: Files, key: bytes, certificate: bytes, ca: bytes) -> None:
    """Raises OSError."""
    replace(files.ca, ca, mode=0o644)
    replace(files.identity, key + certificate, mode=0o600)


def make_folders(files: Files) -> None:
    """Raises OSError."""
    for path in files:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def give_to_agent(files: Files, state: Path, user: str = "fallow") -> None:
    """What root wrote belongs to the owner of the agent's state folder, or to its user: it is the agent who renews."""
    if os.geteuid() != 0:
        return
    owner = state.stat() if state.exists() else None
    uid, gid = (owner.st_uid, owner.st_gid) if owner is not None else (0, 0)
    if uid == 0:
        try:
            found = pwd.getpwnam(user)
        except KeyError:
            return
        uid, gid = found.pw_uid, found.pw_gid
    for path in (files.ca.parent, files.identity.parent, *files):
        os.chown(path, uid, gid)
