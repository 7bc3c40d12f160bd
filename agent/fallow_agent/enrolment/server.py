"""The collector as an agent without a certificate sees it: two requests, and whom to believe.

With a fingerprint (`--ca-sha256`), the authority of that fingerprint is fetched first from whoever answers, and then it
alone is believed, as kubeadm's discovery-token-ca-cert-hash does: the token goes to nobody else. Without one, the
system's authorities are believed.
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from fallow_agent.config import is_loopback
from fallow_agent.errors import EnrolmentError
from fallow_proto import enrolment

TIMEOUT_S = 20.0
MOST_BYTES = 1 << 20

Word = TypeVar("Word", enrolment.Authority, enrolment.Enrolled)


class Server:
    """url: such as https://collector.example:4918. pin: SHA-256 of the authority, "" for the system's."""

    def __init__(self, url: str, pin: str) -> None:
        """Raises EnrolmentError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 4918
        except ValueError:
            host = ""
        if not host or " " in host or parts.scheme not in ("https", "http") or parts.path.strip("/") or parts.query:
            raise EnrolmentError(f"--collector {url!r}: expected such as https://collector.example:4918")
        if parts.scheme == "http" and not is_loopback(host):
            raise EnrolmentError(
                f"--collector {url} is another machine, and anybody on the way could read the token; expected https://"
            )
        self._url = url
        self._host = host
        self._port = port
        self._is_plain = parts.scheme == "http"
        self._pin = pin.replace(":", "").lower()

    def enrol(self, token: str, node: str, csr: str) -> enrolment.Enrolled:
        """Raises EnrolmentError."""
        context = None if self._is_plain else ssl.create_default_context(cadata=self._authority())
        body = msgspec.json.encode(enrolment.Enrolment(token, node, csr))
        return self._decode(self._ask("POST", context, body), enrolment.Enrolled)

    def _authority(self) -> str | None:
        """That of the fingerprint; None: the system's."""
        if not self._pin:
            return None
        anybody = ssl.create_default_context()
        anybody.check_hostname = False
        anybody.verify_mode = ssl.CERT_NONE  # what it sends proves itself by its fingerprint
        found = enrolment.split(self._decode(self._ask("GET", anybody), enrolment.Authority).ca)
        for certificate in found:
            if enrolment.fingerprint(certificate) == self._pin:
                return certificate
        raise EnrolmentError(
            f"{self._url} does not know the authority {self._pin}; it knows "
            f"{', '.join(map(enrolment.fingerprint, found)) or 'none'}. Somebody is in between, or --ca-sha256 is of "
            f"another collector: `fallow-collector certs join-token` prints the right one"
        )

    def _ask(self, method: str, context: ssl.SSLContext | None, body: bytes | None = None) -> bytes:
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S) if context is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)
        )
        try:
            connection.request(method, enrolment.PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read(MOST_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise EnrolmentError(
                f"{self._url} is not believed: {error.verify_message}; expected a certificate for {self._host}"
                + (" of that authority" if self._pin else "; --ca-sha256 names the collector's own authority")
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise EnrolmentError(
                f"{self._url} cannot be asked: {error}; is a Fallow collector listening there?"
            ) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise EnrolmentError(f"{self._url} says {answer.status}: {_detail(content)}")
        return content

    def _decode(self, content: bytes, kind: type[Word]) -> Word:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise EnrolmentError(f"{self._url} answered what is no word of Fallow's: {error}") from error


def _detail(content: bytes) -> str:
    try:
        problem = json.loads(content)
    except ValueError:
        problem = None
    if isinstance(problem, Mapping) and isinstance(problem.get("detail"), str):
        return str(problem["detail"])
    return "no reason that can be read; is that a Fallow collector with an authority of its own?"
