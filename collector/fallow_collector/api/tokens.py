"""Who may ask: bearer tokens, of which the collector's file holds only the hash.

The file is TOML, a line a token, as `fallow token new` prints it:

    ci = { role = "read", sha256 = "9f86d0…" }
    batch = { role = "lease", sites = ["north"], sha256 = "60303a…" }

A token is 256 random bits, so a plain SHA-256 cannot be guessed backwards and needs no salt.
"""

import logging
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from fallow_proto.settings import SettingsError, secret
from fallow_proto.stamp import stamp

LOG = logging.getLogger(__name__)


class Role(StrEnum):
    """Each may what the ones before it may."""

    READ = "read"  # may ask
    LEASE = "lease"  # may reserve and lease devices, and say what a scheduler has allocated
    ADMIN = "admin"  # may everything

    def covers(self, other: "Role") -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class Token(NamedTuple):
    name: str
    role: Role
    sha256: bytes
    sites: tuple[str, ...] = ()  # empty: all


_Site = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    sites: Annotated[tuple[_Site, ...], msgspec.Meta(min_length=1)] | None = None


def parse(text: str, where: str) -> tuple[Token, ...]:
    """Tokens of a tokens file; `where` names it in messages. Raises SettingsError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}; expected lines of `fallow token new`") from error
    tokens = []
    for name, entry in document.items():
        try:
            valid = msgspec.convert(entry, _Entry)
        except msgspec.ValidationError as error:
            raise SettingsError(
                f"{where}: token {name}: {error}; expected {{ role = \"read\", \"lease\" or \"admin\", "
                f"sha256 = 64 hex digits }}, and sites = [\"NAME\"] if it is not for all sites"
            ) from error
        tokens.append(Token(name, valid.role, bytes.fromhex(valid.sha256), valid.sites or ()))
    if not tokens:
        raise SettingsError(f"{where}: holds no token; make one with: fallow token new --role admin --name NAME")
    return tuple(tokens)


def find(presented: str, tokens: Iterable[Token]) -> Token | None:
    """The token of a secret; takes as long for a wrong one as for a right one."""
    digest = sha256(presented.encode()).digest()
    found = None
    for token in tokens:
        if compare_digest(digest, token.sha256):
            found = token
    return found


class Tokens:
    """The tokens of a file, read again whenever the file changes.

    A file that became bad does not lock everybody out: the tokens last read hold on, `problem` says why, and the
    collector is not ready until it is mended.
    """

    def __init__(self, path: Path) -> None:
        """Raises SettingsError."""
        self._path = path
        self._seen = stamp(self._path)
        self._tokens = self._read()
        self.problem = ""

    def current(self) -> tuple[Token, ...]:
        signature = stamp(self._path)
        if signature != self._seen:
            self._seen = signature
            self._reload()
        return self._tokens

    def _reload(self) -> None:
        try:
            self._tokens = self._read()
        except SettingsError as error:
            self.problem = f"{error}; the tokens read before still hold"
            LOG.error("event=tokens_not_reloaded problem=%s", self.problem)
        else:
            self.problem = ""
            LOG.info("event=tokens_reloaded file=%s tokens=%d", self._path, len(self._tokens))

    def _read(self) -> tuple[Token, ...]:
        return parse(secret(str(self._path), "[auth] tokens_file"), f"[auth] tokens_file {self._path}")
