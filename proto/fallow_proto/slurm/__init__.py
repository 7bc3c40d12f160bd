"""How Slurm writes lists and counts GPUs: read by the adapter beside slurmctld and by the prolog on each node."""
