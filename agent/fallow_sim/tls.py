"""What simulated nodes show of themselves over TLS."""

from pathlib import Path
from typing import NamedTuple

import grpc


class TlsError(Exception):
    """A certificate or key cannot be used; the message says which file."""


class Tls(NamedTuple):
    """ca: whose collectors to trust. cert, key: of all nodes together. nodes: a folder with a file NODE.pem for each
    node, key and certificate in one, as `fallow-collector certs issue --node` writes them."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None
    nodes: Path | None = None

    def credentials(self, node: str) -> grpc.ChannelCredentials:
        """Of a connection of this node. Raises TlsError."""
        pair = None if self.nodes is None else self.nodes / f"{node}.pem"
        return grpc.ssl_channel_credentials(_read(self.ca), _read(pair or self.key), _read(pair or self.cert))


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path}: cannot be read: {error.strerror}") from error
