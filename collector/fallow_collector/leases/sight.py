"""Whose leases somebody may see: what is shown holds the fencing token."""

from collections.abc import Callable

from fallow_collector.api.caller import Caller
from fallow_collector.api.tokens import Role
from fallow_collector.leases.lease import Lease


def may_see(asking: Caller, lease: Lease, site_of: Callable[[str], str | None]) -> bool:
    """Who may lease sees what is theirs; who may only read, and who may everything, sees all. A lease with a device of
    another site than the caller's is not shown."""
    if asking.role is Role.LEASE and lease.claimant.caller != asking.name:
        return False
    return not asking.sites or all(asking.sees(site_of(held.uuid)) for held in lease.devices)
