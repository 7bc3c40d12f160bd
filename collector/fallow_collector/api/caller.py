"""Who asks, and of which sites they may hear.

A device, node, lease or cordon of another site is to them as if it were not there: its existence is not told either.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from fallow_collector.api.answers import Unknown
from fallow_collector.api.tokens import Role


class OtherSite(PermissionError):
    """Something of a site was asked for by name that the token is not for; the message says which sites it is for."""


class Caller(NamedTuple):
    name: str  # the token's; empty where none is needed
    role: Role
    sites: tuple[str, ...] = ()  # empty: all

    def sees(self, site: str | None) -> bool:
        return not self.sites or site in self.sites

    def of_sites(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The sites that an answer may be of, empty: all. asked: by name, empty: whichever. Raises OtherSite."""
        for site in asked:
            self.check_site(site)
        return tuple(asked) or self.sites

    def check_site(self, site: str) -> None:
        """Raises OtherSite."""
        if not self.sees(site):
            raise OtherSite(f"token {self.name} is for {', '.join(self.sites)}; site {site!r} is not among them")


ANYBODY = Caller("", Role.ADMIN)
"""Who asks where no tokens are configured."""

Standing = Callable[[], bool]
"""Whether a caller would still be let in as they were."""

FromCaller = NamedDependency[SkipValidation[Caller]]
FromStanding = NamedDependency[SkipValidation[Standing]]


class Places(Protocol):
    def site_of(self, uuid: str) -> str | None:
        """Of a device; None: there is none of that name."""

    def site_of_node(self, node: str) -> str | None: ...


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    caller: Caller = request.scope["state"]["asking"]
    return caller


def standing_of(request: Request[Any, Any, Any]) -> Standing:
    standing: Standing = request.scope["state"]["standing"]
    return standing


async def while_standing(pieces: AsyncIterator[bytes], standing: Standing) -> AsyncIterator[bytes]:
    """An answer that may go on for days ends before the first piece that its caller may not hear any more."""
    async for piece in pieces:
        if not standing():
            return
        yield piece


def check_device(caller: Caller, places: Places, uuid: str) -> None:
    """Raises Unknown, in the words of whoever does not find it."""
    if caller.sites and not caller.sees(places.site_of(uuid)):
        raise Unknown(f"there is no device {uuid}; `fallow devices` lists those that there are")


def check_node(caller: Caller, places: Places, node: str) -> None:
    """Raises Unknown."""
    if caller.sites and not caller.sees(places.site_of_node(node)):
        raise Unknown(f"there is no node {node}; `fallow nodes` lists those that there are")
