"""Typed access to a Fallow collector: Client, AsyncClient, and the `fallow` command on them."""

try:
    from fallow_client.aio import AsyncClient
    from fallow_client.calls import Where
    from fallow_client.client import Client
    from fallow_client.errors import FallowError, Malformed, Refused, Unreachable
except ModuleNotFoundError as error:  # a node's installation is the agent's, which does without
    raise ModuleNotFoundError(f"{error.name} is not installed; expected pip install 'fallow[client]'") from error

__all__ = ["AsyncClient", "Client", "FallowError", "Malformed", "Refused", "Unreachable", "Where"]
