"""Typed access to a Fallow collector: Client, AsyncClient, and the `fallow` command on them.

Several collectors at once: Sites, AsyncSites. What is asked and answered is in fallow_proto.api and .dispatch.
"""

try:
    from fallow_client.aio import AsyncClient
    from fallow_client.calls import Where
    from fallow_client.client import Client
    from fallow_client.errors import FallowError, LeaseLost, Malformed, NoCapacity, Refused, Unreachable
    from fallow_client.following import Cut
    from fallow_client.held import Held
    from fallow_client.mirror import Mirror, Sight
    from fallow_client.sites import AsyncSites, Sites
except ModuleNotFoundError as error:  # a node's installation is the agent's, which does without
    raise ModuleNotFoundError(f"{error.name} is not installed; expected pip install 'fallow[client]'") from error

from fallow_proto.dispatch import Request

__all__ = [
    "AsyncClient", "AsyncSites", "Client", "Cut", "FallowError", "Held", "LeaseLost", "Malformed", "Mirror",
    "NoCapacity", "Refused", "Request", "Sight", "Sites", "Unreachable", "Where",
]
