"""Routes for kube-scheduler's extender calls: questions only, so the role that may read may ask."""

from collections.abc import Sequence
from typing import Protocol

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from fallow_collector.api.caller import FromCaller
from fallow_collector.api.documents import errors
from fallow_collector.api.query import BadQuery
from fallow_collector.kubernetes.extender import Args, FilterResult, HostPriority
from fallow_collector.kubernetes.pod import PodError

MAX_BODY_BYTES = 32 * 2**20  # a list of nodes, each with all that Kubernetes knows of it


class Extender(Protocol):
    """sites: of which nodes are known, empty: all."""

    def filter(self, args: Args, sites: Sequence[str]) -> FilterResult: ...

    def prioritize(self, args: Args, sites: Sequence[str]) -> list[HostPriority]:
        """Raises PodError."""


FromExtender = NamedDependency[SkipValidation[Extender]]


@post(
    "/api/v1/kubernetes/filter", operation_id="kubernetes_filter", summary="Nodes on which a pod fits",
    sync_to_thread=False, status_code=200, responses=errors(400), request_max_body_size=MAX_BODY_BYTES,
)
def filter_nodes(kubernetes: FromExtender, caller: FromCaller, data: JSONBody[Args]) -> FilterResult:
    """A scheduler extender's filter (k8s.io/kube-scheduler/extender/v1): nodes with enough idle accelerators."""
    return kubernetes.filter(data, caller.sites)


@post(
    "/api/v1/kubernetes/prioritize", operation_id="kubernetes_prioritize", summary="Which of the nodes is best",
    sync_to_thread=False, status_code=200, responses=errors(400), request_max_body_size=MAX_BODY_BYTES,
)
def prioritize(kubernetes: FromExtender, caller: FromCaller, data: JSONBody[Args]) -> list[HostPriority]:
    """A scheduler extender's prioritize: best fit, so that whole nodes stay whole."""
    try:
        return kubernetes.prioritize(data, caller.sites)
    except PodError as error:
        raise BadQuery(str(error)) from error
