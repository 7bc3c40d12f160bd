"""Where the node's certificate lies: one file with its key, so that one rename replaces both (as kubelet keeps them),
and beside it the authorities to trust.

The authorities are written first: with those of the new certificate the old one still works, not the other way round.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fallow_agent.config import Settings
from fallow_agent.errors import EnrolmentError
from fallow_proto.durable import replace

TRIAL_BYTES = 16_384
"""More than a key, a certificate and two authorities take."""


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


def try_out(files: Files) -> None:
    """Whether they can be written, before anything is asked for that is given once: a token, or one of the few
    certificates that a node may have. Raises OSError."""
    for path in files:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial = path.with_name(f".{path.name}.trial")
        try:
            replace(trial, bytes(TRIAL_BYTES), mode=0o600)
        finally:
            trial.unlink(missing_ok=True)


@contextmanager
def as_agent(state: Path, user: str = "fallow") -> Iterator[None]:
    """Root does it as the owner of the agent's state folder, which is made for its user where there is none: it is the
    agent who renews, and a link that its user has put there must lead root nowhere. Raises OSError."""
    if os.geteuid() != 0:
        yield
        return
    if not state.exists():
        state.mkdir(mode=0o700, parents=True)
        with suppress(KeyError):
            found = pwd.getpwnam(user)
            os.chown(state, found.pw_uid, found.pw_gid)
    owner = state.stat()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
