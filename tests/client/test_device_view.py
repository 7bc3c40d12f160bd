"""One device as people see it: what its kind cannot have is not told to be unknown."""

import io

import pytest
from rich.console import Console

from fallow_agent.readers import host_health
from fallow_client.views.devices import detail
from fallow_proto import api
from fallow_proto.metrics import BY_NAME, METRICS, Bearer
from tests.collector.api.memory import device

BASELINE = api.Baseline(
    uuid="GPU-1", floor_watts=None, floor_source="none", base_memory_bytes=None, base_source="none", clean_s=0,
)


def not_known(one: api.Device) -> set[str]:
    text = io.StringIO()
    answer = api.DeviceDetail(device=one, baseline=BASELINE, events=[], incidents=[], timeline=[])
    Console(file=text, width=10_000).print(*detail(answer), sep="\n")
    line, = (line for line in text.getvalue().splitlines() if line.startswith("not known: "))
    return set(line.removeprefix("not known: ").strip().split(", "))


def of(*bearers: Bearer) -> set[str]:
    return {metric.name for metric in METRICS if metric.bearer in bearers}


@pytest.mark.parametrize(("device_class", "told"), [
    ("intelligent", of(Bearer.ACCELERATOR, Bearer.ANY)), ("general", of(Bearer.HOST, Bearer.ANY)),
    ("super", of(Bearer.ACCELERATOR, Bearer.HOST, Bearer.ANY)),
])
def test_only_what_a_device_of_its_kind_can_have_is_not_known(device_class: str, told: set[str]) -> None:
    one = device("GPU-1", device_class=device_class, **dict.fromkeys(BY_NAME))
    assert not_known(one) == told


def test_a_value_is_shown_whatever_the_table_says_of_its_kind() -> None:
    one = device("GPU-1", cpu_cores=64.0)
    text = io.StringIO()
    Console(file=text).print(*detail(api.DeviceDetail(
        device=one, baseline=BASELINE, events=[], incidents=[], timeline=[]
    )))
    assert "cpu cores" in text.getvalue()


def test_the_table_calls_a_hosts_what_the_hosts_reader_reads_of_its_health() -> None:
    read = {name for names in host_health.COLUMNS.values() for name in names}
    assert read <= of(Bearer.HOST)
