"""A lease as it is shown, with what the fleet knows of its devices."""

from fallow_collector.answers.numbers import rfc3339
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.leases.lease import Held, Lease
from fallow_collector.leases.table import State
from fallow_proto import dispatch


def shown(lease: Lease, fleet: Fleet, now: float) -> dispatch.Lease:
    """now: seconds of the monotonic clock. One that waits for its devices to be clean has no time left to tell."""
    waits = lease.state is State.RELEASING
    return dispatch.Lease(
        lease_id=lease.lease_id, holder=lease.claimant.name, fencing_token=lease.token, state=str(lease.state),
        ttl_s=lease.ttl_s, expires_in_s=None if waits else round(max(0.0, lease.until - now), 3),
        since=rfc3339(lease.made), fenced=lease.is_fenced,
        devices=[_member(device, fleet) for device in lease.devices],
    )


def held(fleet: Fleet, row: int) -> Held:
    """A device of the fleet, as a lease names it."""
    return Held(fleet.identities[row].uuid, fleet.nodes[fleet.owner[row]].name)


def _member(device: Held, fleet: Fleet) -> dispatch.Member:
    row = fleet.find(device.uuid)
    identity = None if row is None else fleet.identities[row]
    return dispatch.Member(
        uuid=device.uuid, node=device.node, index=identity.index if identity else None,
        pci_bus_id=(identity.pci_bus_id or None) if identity else None,
    )
