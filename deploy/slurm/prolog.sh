#!/bin/sh
# Slurm's Prolog: refuses a job only where this node has proof that somebody else holds one of its devices.
# Whatever else happens (Fallow not installed, hanging, failing) the job starts: an observer must not stop a cluster.

# Slurm gives a Prolog no PATH. Change the first folder if Fallow is installed elsewhere.
export PATH="/opt/fallow/bin:/usr/local/bin:/usr/bin:/bin"

said=$(timeout --kill-after=2 5 fallow-agent prolog 2>&1)
[ $? -eq 1 ] || exit 0

# A Prolog that fails drains its node, and a human has to bring it back. So the job goes back to the queue and the node
# stays in service; what cannot be queued again (srun, salloc, --no-requeue) is cancelled. Under
# PrologFlags=Alloc,DeferBatch the controller launches nothing before this script has ended, and then no longer this job.
# Without DeferBatch slurmd already has the batch script, and runs it if this script ends before the cancellation arrives.
logger -t fallow-prolog "job $SLURM_JOB_ID is refused: $said"
timeout --kill-after=2 5 scontrol update "jobid=$SLURM_JOB_ID" "admincomment=$said"
timeout --kill-after=2 10 scontrol requeue "$SLURM_JOB_ID" && exit 0
timeout --kill-after=2 10 scancel "$SLURM_JOB_ID" && exit 0
exit 1
