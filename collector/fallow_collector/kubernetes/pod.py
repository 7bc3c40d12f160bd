"""How many accelerators a pod asks for, by Kubernetes' own rule for what a pod requests in effect:

    max(sum over its containers and sidecars, each init container and the sidecars before it)

(https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers; a sidecar is an
init container with restartPolicy Always.) Extended resources have limit = request, so the limit is what counts.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fallow_proto.kubernetes.resources import Kind, kind_of


class PodError(ValueError):
    """The pod cannot be understood; the message says what was found and what was expected."""


def demand(pod: Mapping[str, Any]) -> dict[Kind, int]:
    """Whole numbers of each kind of accelerator, zeros left out. Raises PodError."""
    spec = pod.get("spec")
    if not isinstance(spec, Mapping):
        raise PodError("Pod has no spec; expected a v1.Pod as kube-scheduler sends it")
    sidecars: Counter[Kind] = Counter()
    most: Counter[Kind] = Counter()
    for container in _containers(spec, "initContainers"):
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            sidecars += asked
            most |= sidecars
        else:
            most |= sidecars + asked
    running = sum((_asked(container) for container in _containers(spec, "containers")), Counter[Kind]())
    return dict(most | (running + sidecars))


def _containers(spec: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = spec.get(key) or []
    if not isinstance(found, list) or not all(isinstance(container, Mapping) for container in found):
        raise PodError(f"Pod.spec.{key} is no list of containers")
    return found


def _asked(container: Mapping[str, Any]) -> Counter[Kind]:
    resources = container.get("resources") or {}
    asked: Counter[Kind] = Counter()
    for name, quantity in {**(resources.get("requests") or {}), **(resources.get("limits") or {})}.items():
        kind = kind_of(name)
        if kind is not None:
            asked[kind] += _count(name, quantity)
    return asked


def _count(name: str, quantity: object) -> int:
    text = str(quantity)
    if not text.isdecimal():
        raise PodError(f"{name}: {text!r}; expected a whole number of devices")
    return int(text)
