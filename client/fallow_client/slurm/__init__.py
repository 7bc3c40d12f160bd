"""Slurm's allocations as a ledger of Fallow, and Fallow's findings as drains of Slurm's nodes."""
