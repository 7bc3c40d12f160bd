"""Join tokens: 256 random bits that let one node in once. Only their hashes are kept."""

from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_urlsafe

from fallow_collector.certs.rows import Join

PREFIX = "fallow_join_"  # lets scanners for leaked secrets recognise one
SECRET_BYTES = 32


def new_token() -> str:
    return PREFIX + token_urlsafe(SECRET_BYTES)


def hash_of(token: str) -> str:
    """What is kept. No salt and one round: there is nothing to guess in 256 random bits."""
    return sha256(token.encode()).hexdigest()


def complaint(known: bool, join: Join | None, node: str, now: float) -> str:
    """Why a token does not let a node in, empty when it does. join: what the token may do for this node."""
    if not known:
        return "this join token is not known here; `fallow-collector certs join-token` makes one"
    if join is None:
        return f"this join token is not for node {node}; `fallow-collector certs join-token --node {node}` makes one"
    if join.used is not None:
        return f"this join token was used for node {node} at {_time(join.used)}; each lets a node in once"
    if now >= join.ends:
        return f"this join token expired at {_time(join.ends)}; make a new one"
    return ""


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
