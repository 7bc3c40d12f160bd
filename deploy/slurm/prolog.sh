#!/bin/sh
# Slurm's Prolog: refuses a job only where this node has proof that somebody else holds one of its devices.
# Whatever else happens (Fallow not installed, hanging, failing) the job starts: an observer must not stop a cluster.
# A prolog that fails drains the node and requeues the job, so nothing but that proof may end with a status.

command -v fallow-agent >/dev/null 2>&1 || exit 0

timeout --kill-after=2 5 fallow-agent prolog
[ $? -eq 1 ] && exit 1
exit 0
