"""The processes on a device, as the API shows them."""

from fallow_collector.answers.numbers import rfc3339
from fallow_collector.processes.board import OnDevice
from fallow_proto import api
from fallow_proto.cgroup import named
from fallow_proto.v1 import telemetry_pb2 as pb


def processes(found: OnDevice | None) -> api.Processes | None:
    if found is None:
        return None
    items = [_process(one, foreign) for one, foreign in zip(found.told.processes, found.foreign, strict=True)]
    return api.Processes(problem=found.told.problem or None, items=items, more=found.told.more)


def _process(one: pb.Process, foreign: bool | None) -> api.Process:
    said, is_known = named(one.cgroup), not one.problem
    return api.Process(
        pid=one.pid, problem=one.problem or None, started=rfc3339(one.started_ms / 1000) if is_known else None,
        command=one.command or None, user=one.user or None, uid=one.uid if is_known else None,
        cgroup=one.cgroup or None, job=said.job or None, pod=said.pod or None, container=said.container or None,
        unit=said.unit or None, memory_bytes=one.memory_bytes if one.HasField("memory_bytes") else None,
        exempt=one.exempt, foreign=foreign,
    )
