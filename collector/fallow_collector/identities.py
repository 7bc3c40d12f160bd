"""Who is believed, kept up to date: the files of [tls], the authority if one was made here, and what was revoked.

`look` is called once a second in a thread of its own and never raises: what cannot be read keeps its last good state,
and `problem` says so.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from fallow_collector.certificate import Pems, Validity, validity_of
from fallow_collector.certs.authority import Authority
from fallow_collector.certs.errors import CertsError
from fallow_collector.certs.file import NAME
from fallow_collector.certs.revocations import Revocations
from fallow_collector.config import Settings
from fallow_collector.state import StateError
from fallow_collector.tls_files import TlsFiles

KEEP_S = 10.0
"""Between two looks at what time does to the authority; a change by hand is seen at the next look."""

log = logging.getLogger(__name__)


class Identities:
    """wall: unix seconds, called at each look."""

    def __init__(self, settings: Settings, wall: Callable[[], float]) -> None:
        self.files: TlsFiles | None = None
        self.authority: Authority | None = None
        self.certificate: Validity | None = None  # the collector's own
        self.revocations = Revocations()
        self._settings = settings
        self._wall = wall
        self._directory = Path(settings.state.dir)
        self._version: int | None = None
        self._kept = 0.0
        self._trouble = ""

    @property
    def problem(self) -> str:
        return self._trouble or (self.files.problem if self.files else "")

    def start(self) -> None:
        """Raises SettingsError, StateError, CertsError: nobody is let in before it is known who was revoked."""
        self._read_authority(self._wall())
        if self._settings.tls.cert:
            self.files = TlsFiles(self._settings.tls)
            self.certificate = validity_of(self.files.pems.certificate)

    def look(self) -> None:
        try:
            self._read_authority(self._wall())
        except (CertsError, StateError, OSError) as error:
            if str(error) != self._trouble:
                log.error("certificates: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""
        if self.files is not None:
            self.files.refresh()
            self.certificate = validity_of(self.files.pems.certificate)

    def follower(self) -> Callable[[], Pems | None]:
        """Says each time the newest files of [tls], None if it has said them before."""
        files, told = self.files, -1 if self.files is None else self.files.number

        def newer() -> Pems | None:
            nonlocal told
            if files is None or files.number == told:
                return None
            told = files.number
            return files.pems

        return newer

    def close(self) -> None:
        if self.authority is not None:
            self.authority.close()

    def _read_authority(self, now: float) -> None:
        if self.authority is None:
            if not (self._directory / NAME).exists():
                return
            self.authority = Authority(self._directory, self._settings.tls.agent_life_h * 3600)
        if (version := self.authority.version) != self._version:
            self.revocations = self.authority.revocations()
            self._version, self._kept = version, 0.0
        if not 0 <= now - self._kept < KEEP_S:
            self.authority.keep(now)
            self._kept = now
