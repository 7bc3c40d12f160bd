"""What can go wrong between Slurm and us."""

from fallow_client.errors import FallowError


class SlurmError(FallowError):
    """Slurm could not be read or told; nothing is imported then, and the ledger grows stale."""
