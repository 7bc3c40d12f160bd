"""Leases: who has which device, from reservation to the reading that shows it free again."""

from fallow_collector.leases.commits import Commits
from fallow_collector.leases.decision import Decision
from fallow_collector.leases.file import LeaseFile, Standing
from fallow_collector.leases.lease import Claimant, Held, Lease, Order
from fallow_collector.leases.ledger import Ledger
from fallow_collector.leases.rows import Clock
from fallow_collector.leases.table import State

__all__ = [
    "Claimant", "Clock", "Commits", "Decision", "Held", "Lease", "LeaseFile", "Ledger", "Order", "Standing", "State",
]
