"""The files of [tls], read again whenever one of them changes, so that no new certificate needs a restart."""

import logging
import ssl
from pathlib import Path

from fallow_collector.certificate import Pems
from fallow_collector.config import TlsSettings
from fallow_proto.settings import SettingsError
from fallow_proto.stamp import stamp

log = logging.getLogger(__name__)


class TlsFiles:
    """pems: the last ones that were good together; number: how often they were others.

    Files that became bad do not lock anybody out: the ones last read hold on, and `problem` says why.
    """

    def __init__(self, tls: TlsSettings) -> None:
        """Raises SettingsError."""
        self.number = 0
        self.problem = ""
        self._tls = tls
        self._seen = self._signature()
        self.pems = self._read()

    def refresh(self) -> None:
        """Look whether they changed. Where two files are replaced one by one, the first look may find a bad pair, so
        what is bad is looked at again each time."""
        signature = self._signature()
        if signature == self._seen and not self.problem:
            return
        self._seen = signature
        try:
            pems = self._read()
        except SettingsError as error:
            if str(error) != self.problem:
                self.problem = str(error)
                log.error("certificates not read again, those read before hold: %s", self.problem)
            return
        self.problem = ""
        if pems != self.pems:
            self.pems = pems
            self.number += 1
            log.info("certificates read again file=%s", self._tls.cert)

    def _read(self) -> Pems:
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(tls.cert, tls.key)
            if tls.client_ca:
                context.load_verify_locations(tls.client_ca)
            return Pems(
                Path(tls.cert).read_bytes(), Path(tls.key).read_bytes(),
                Path(tls.client_ca).read_bytes() if tls.client_ca else None,
            )
        except OSError as error:  # SSLError is one
            raise SettingsError(
                f"[tls] cert = {tls.cert!r}, key = {tls.key!r}, client_ca = {tls.client_ca!r} cannot be used: {error}; "
                f"expected PEM files, the key being the certificate's"
            ) from error

    def _signature(self) -> tuple[tuple[int, ...], ...]:
        return tuple(stamp(Path(path)) for path in (self._tls.cert, self._tls.key, self._tls.client_ca) if path)
