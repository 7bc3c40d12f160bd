"""A dispatcher's day with real programs: simulated nodes → gRPC → collector → client, commands and the example."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow_client import Client, LeaseLost, Request, Where
from tests.e2e.programs import Collector, Sim, environment, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "dispatcher.py"
QUICK = (
    "idle.confirm_s = 2", "idle.confirm_readings = 3", "idle.confirm_after_release_s = 1",
)
MANY = ("--nodes", "16", "--devices", "8", "--vendors", "nvidia=1", "--interval", "0.5")
"""Simulated load follows the wall clock; of so many devices some are idle at any hour, which of 32 is not certain."""
NVIDIA = Request(count=1, vendor=["nvidia"])


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("dispatch")
    with (
        Collector(folder, *QUICK) as collector,
        Sim(folder, collector.grpc, *MANY),
    ):
        until(lambda: fits(collector), "a device is idle")
        yield collector


def fits(collector: Collector) -> bool:
    with Client(collector.url) as fallow:
        return fallow.fit(NVIDIA).fits


def test_a_leased_device_is_nobody_elses_and_is_seen_clean_before_it_is_offered_again(collector: Collector) -> None:
    with Client(collector.url) as fallow, fallow.mirror(Where(vendor=("nvidia",))) as mirror:
        until(lambda: mirror.sight().devices, "the list of devices")
        with fallow.lease(NVIDIA, holder="e2e", ttl_s=2.0) as lease:
            [device] = lease.devices
            until(lambda: mirror.sight().devices[device.uuid].phase == "leased", "the mirror shows the lease")
            assert fallow.device(device.uuid).device.phase == "leased"
            first = lease.believed.over_at
            until(lambda: lease.believed.over_at > first + 3.0, "it is renewed past its first TTL")
            lease.check()
            assert fallow.get_lease(lease.id).fencing_token == lease.fencing_token
        until(lambda: mirror.sight().devices[device.uuid].phase != "leased", "it was released")
        assert mirror.sight().devices[device.uuid].phase in ("releasing", "verifying", "unmanaged", "idle")


def test_a_lease_outlives_a_restart_of_the_collector(collector: Collector) -> None:
    until(lambda: fits(collector), "a device is idle")
    with Client(collector.url) as fallow, fallow.lease(NVIDIA, holder="e2e", ttl_s=20.0) as lease:
        collector.kill()
        collector.start()
        assert fallow.get_lease(lease.id).fencing_token == lease.fencing_token
        assert fallow.renew(lease.id, lease.fencing_token, holder="e2e").state == "leased"
        lease.check()
    until(lambda: fits(collector), "a device is idle again after the restart")


def test_a_lease_that_somebody_released_is_lost(collector: Collector) -> None:
    until(lambda: fits(collector), "a device is idle")

    def work(fallow: Client) -> None:
        with fallow.lease(NVIDIA, holder="e2e", ttl_s=3.0) as lease:
            collector.fallow("release", lease.id, "--token", str(lease.fencing_token), "--holder", "e2e")
            assert lease.lost.wait(30.0)

    with Client(collector.url) as fallow, pytest.raises(LeaseLost):
        work(fallow)


def test_the_example_dispatches(collector: Collector) -> None:
    until(lambda: fits(collector), "a device is idle")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"],
        env=environment(FALLOW_URL=collector.url), capture_output=True, text=True, timeout=60, check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in collector.devices()


def test_the_commands_speak_with_the_real_collector(collector: Collector) -> None:
    until(lambda: fits(collector), "a device is idle")
    assert "it fits: 1 device" in collector.fallow("fit", "--vendor", "nvidia")
    assert "would fit with" in collector.fallow("fit", "--count", "1000", status=3)
    lease = collector.fallow_json("reserve", "--vendor", "nvidia", "--holder", "e2e", "--hold")
    claim = (lease["lease_id"], "--token", str(lease["fencing_token"]), "--holder", "e2e")
    assert collector.fallow_json("commit", *claim)["state"] == "leased"
    assert lease["lease_id"] in collector.fallow("leases")
    assert collector.fallow_json("renew", *claim, "--ttl", "10m")["ttl_s"] == 600.0
    assert collector.fallow_json("release", *claim, "--outcome", "ok")["state"] == "releasing"
    node = lease["devices"][0]["node"]
    assert "8 devices" in collector.fallow("drain", node, "--owner", "e2e", "--reason", "fans", "--for", "1h")
    assert "fans" in collector.fallow("cordons")
    assert collector.fallow("uncordon", node, "--owner", "e2e").startswith("lifted ")
    assert "no scheduler" in collector.fallow("ledgers")
