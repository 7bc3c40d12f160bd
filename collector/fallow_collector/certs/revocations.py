"""Who is no longer believed although the certificate would still be good."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple


class Revocations(NamedTuple):
    serials: frozenset[str] = frozenset()
    nodes: Mapping[str, int] = {}  # since when, unix seconds: what began before that is refused, whoever signed it

    def complaint(self, serial: str, begins: float, node: str) -> str:
        """Why this certificate is not good for this node any more; empty when it is."""
        if serial in self.serials:
            return f"the certificate {serial} was revoked; `fallow-collector certs join-token` lets the node in anew"
        since = self.nodes.get(node)
        if since is not None and begins < since:
            return (
                f"node {node} was revoked at {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC; "
                f"`fallow-collector certs join-token --node {node}` lets it in anew"
            )
        return ""
