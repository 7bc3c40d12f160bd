"""What is shared of Kubernetes: resource names, and kubelet's API as generated."""

import subprocess
import sys
from pathlib import Path

import pytest

from fallow_proto.kubernetes import podresources_pb2 as kubelet
from fallow_proto.kubernetes.resources import Kind, kind_of

ROOT = Path(__file__).parents[2]


def test_generated_code_is_what_the_compiler_makes_of_the_proto_file(tmp_path: Path) -> None:
    made = "fallow_proto/kubernetes"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), f"--python_out={tmp_path}",
            f"--grpc_python_out={tmp_path}", f"--mypy_out=quiet:{tmp_path}", f"--mypy_grpc_out=quiet:{tmp_path}",
            f"{made}/podresources.proto",
        ],
        check=True, cwd=ROOT, env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )
    files = sorted(path.name for path in (tmp_path / made).iterdir())
    assert len(files) == 4
    for name in files:
        committed = (ROOT / "proto" / made / name).read_text()
        assert committed == (tmp_path / made / name).read_text(), f"{name} is old: run `make proto`"


def test_names_and_numbers_are_kubelets() -> None:
    answer = kubelet.ListPodResourcesResponse.FromString(
        b"\x0a\x1b\x0a\x01p\x12\x02ns\x1a\x12\x0a\x01c\x12\x0d\x0a\x03a/b\x12\x02d1\x12\x02d2"
    )
    (pod,) = answer.pod_resources
    (container,) = pod.containers
    (devices,) = container.devices
    assert (pod.name, pod.namespace, container.name) == ("p", "ns", "c")
    assert (devices.resource_name, list(devices.device_ids)) == ("a/b", ["d1", "d2"])
    assert kubelet.DESCRIPTOR.services_by_name["PodResourcesLister"].full_name == "v1.PodResourcesLister"


@pytest.mark.parametrize(("resource", "kind"), [
    ("nvidia.com/gpu", Kind("nvidia")),
    ("nvidia.com/mig-1g.10gb", Kind("nvidia", "1g.10gb")),
    ("huawei.com/Ascend910", Kind("ascend")),
    ("metax-tech.com/gpu", Kind("metax")),
    ("nvidia.com/gpu.shared", None),
    ("rdma/hca", None),
    ("cpu", None),
])
def test_a_resource_is_known_by_its_whole_name(resource: str, kind: Kind | None) -> None:
    assert kind_of(resource) == kind
