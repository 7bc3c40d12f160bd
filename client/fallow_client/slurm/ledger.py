"""From what Slurm says to what the collector takes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from fallow_client.slurm.errors import SlurmError
from fallow_client.slurm.scontrol import SlurmJob, SlurmNode
from fallow_proto.dispatch import Job, LedgerImport, Owned
from fallow_proto.slurm.gres import GresConf

PROBLEM_LENGTH = 256  # what the collector takes


def ledger_of(nodes: Iterable[SlurmNode], jobs: Iterable[SlurmJob], conf: GresConf, age_s: float) -> LedgerImport:
    """Every node with GPUs. What is used is what nodes say; jobs, read before them, only say by whom."""
    holders: defaultdict[tuple[str, int], list[SlurmJob]] = defaultdict(list)
    for job in jobs:
        for where in job.holds:
            holders[where].append(job)
    owned: list[Owned] = []
    held: list[Job] = []
    for node in nodes:
        if not node.gres and not node.problem:
            continue
        try:
            if node.problem:
                raise SlurmError(node.problem)
            minors = conf.minors(node.name, [(one.kind, one.many) for one in node.gres])
            used = [(minors[index], index) for index in node.used]
        except IndexError:
            owned.append(Owned(node=node.name, problem=f"Slurm uses an index beyond {len(minors) - 1}: {node.used}"))
        except (SlurmError, ValueError) as error:
            owned.append(Owned(node=node.name, problem=str(error)[:PROBLEM_LENGTH]))
        else:
            owned.append(Owned(node=node.name, minors=minors))
            held += [_held(node.name, minor, holders[node.name, index]) for minor, index in used]
    return LedgerImport(age_s=age_s, nodes=owned, jobs=held)


def _held(node: str, minor: int, jobs: Sequence[SlurmJob]) -> Job:
    """Of several jobs the last one is shown, and whose processes belong there is left open."""
    if len(jobs) == 1:
        return Job(node=node, holder=_holder(jobs[0]), minor=minor, job=jobs[0].job, uid=jobs[0].uid)
    return Job(node=node, holder=_holder(jobs[-1]) if jobs else "a job", minor=minor)


def _holder(job: SlurmJob) -> str:
    return f"job {job.job} of {job.user}" if job.user else f"job {job.job}"
