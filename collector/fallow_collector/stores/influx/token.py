"""The API token, read from its file each time: a token that is replaced is used without a restart."""

from fallow_collector.stores.store import StoreError
from fallow_proto.settings import SettingsError, secret

HIDDEN = "(hidden)"


def said(answer: str, token: str | None) -> str:
    """The beginning of what a server answered, on one line, without our token: it may well repeat what it was told."""
    text = answer.replace(token, HIDDEN) if token else answer
    return " ".join(text.split())[:500]


class TokenFile:
    """path may be empty: then there is no token, and none is sent."""

    def __init__(self, path: str) -> None:
        """Raises SettingsError if it cannot be read now."""
        self._path = path
        self._read()

    def text(self) -> str | None:
        """Raises StoreError."""
        try:
            return self._read()
        except SettingsError as error:
            raise StoreError(str(error)) from error

    def headers(self) -> dict[str, str]:
        """As InfluxDB 2 wants it; vmauth takes the same for its bearer_token. Raises StoreError."""
        token = self.text()
        return {"Authorization": f"Token {token}"} if token else {}

    def _read(self) -> str | None:
        return secret(self._path, "store.influx.token_file") if self._path else None
