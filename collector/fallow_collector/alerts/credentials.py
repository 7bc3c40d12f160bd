"""What is secret of a receiver: its address, its keys, its token. Read anew at each attempt, so that a file may be
replaced while we run."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus, urlsplit

from fallow_collector.alerts.receivers.request import Request
from fallow_collector.alerts.receivers.webhook import key_bytes
from fallow_collector.alerts.settings import ReceiverSettings, check_url
from fallow_proto.settings import SettingsError, secret

SHORTEST = 6
"""Characters of a part of an address that may be secret; a shorter one is an ordinary word, such as "send"."""

HIDDEN = b"(hidden)"


@dataclass(frozen=True, slots=True)
class Credentials:
    """keys: one a line of the file, newest first."""

    url: str = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    token: str = field(repr=False)


def read(receiver: ReceiverSettings) -> Credentials:
    """Raises SettingsError, whose message repeats nothing secret."""
    where = f"receiver {receiver.name!r}"
    url = receiver.url or _file(receiver.url_file, f"{where}: url_file")
    lines = _file(receiver.secret_file, f"{where}: secret_file").splitlines()
    keys = tuple(line.strip() for line in lines if line.strip())
    token = _file(receiver.token_file, f"{where}: token_file")
    try:
        check_url(receiver.name, url)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if receiver.type == "webhook":
        _check(keys, f"{where}: {receiver.secret_file}")
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError(f"{where}: {receiver.token_file} holds no token; expected one word of ASCII")
    return Credentials(url, keys, token)


def without_secrets(body: bytes, credentials: Credentials, request: Request) -> bytes:
    """A reply in which nothing is left that we sent and must not be known: a receiver may well repeat it."""
    for secret_text in sorted(_secrets(credentials, request), key=len, reverse=True):
        for spelling in (secret_text, secret_text.replace("/", "\\/")):  # the second as some write it in JSON
            body = body.replace(spelling.encode(), HIDDEN)
    return body


def _secrets(credentials: Credentials, request: Request) -> set[str]:
    whole = {credentials.url, credentials.token, *credentials.keys, *request.secrets, request.url}
    return {part for part in {*whole, *_parts(credentials.url), *_parts(request.url)} if len(part) >= SHORTEST}


def _parts(url: str) -> Iterable[str]:
    """Everything behind the host, and the password before it, as written and as meant."""
    parts = urlsplit(url)
    password = parts.password or ""
    yield from (password, unquote(password), parts.path, parts.query)
    values = (pair.partition("=")[2] for pair in parts.query.split("&"))
    for part in (*parts.path.split("/"), *values):
        yield from (part, unquote_plus(part))


def _check(keys: Iterable[str], where: str) -> None:
    try:
        for key in keys:
            key_bytes(key)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def _file(path: str, what: str) -> str:
    return secret(path, what) if path else ""
