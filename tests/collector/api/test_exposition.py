import math
import subprocess

import httpx
import pytest

from fallow_collector.api.answers import Where
from fallow_collector.api.exposition import Sample, render
from fallow_collector.api.families import capacity_samples
from tests.collector.api.memory import MemoryAnswers


def gauge(value: float, name: str = "a", **labels: str) -> Sample:
    return Sample(name, "gauge", "What a\nis \\.", labels, value)


def test_samples_of_one_name_stand_together_under_one_help() -> None:
    text = render([gauge(1, "a", x="1"), gauge(2, "b"), gauge(3, "a", x="2")]).decode()
    assert text == (
        "# HELP a What a\\nis \\\\.\n# TYPE a gauge\n" 'a{x="1"} 1\na{x="2"} 3\n'
        "# HELP b What a\\nis \\\\.\n# TYPE b gauge\nb 2\n"
    )


def test_label_values_cannot_break_out_of_their_quotes() -> None:
    assert 'a{x="q\\"u\\\\o\\nte"} 1\n' in render([gauge(1, x='q"u\\o\nte')]).decode()


def test_an_empty_label_is_left_out() -> None:
    assert "\na 1\n" in render([gauge(1, x="")]).decode()


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (-0.5, "-0.5"), (1e300, "1e+300"), (2.0**53 - 1, "9007199254740991"), (math.inf, "+Inf"),
    (-math.inf, "-Inf"), (0.1, "0.1"),
])
def test_numbers_keep_every_digit(value: float, text: str) -> None:
    assert render([gauge(value)]).decode().splitlines()[-1] == f"a {text}"


def test_what_is_not_known_is_absent_not_zero() -> None:
    assert render([gauge(math.nan)]) == b""


def test_capacity_by_phase_adds_up_to_what_was_seen() -> None:
    samples = list(capacity_samples(MemoryAnswers().capacity(Where())))
    groups = {(s.labels["site"], s.labels["model"]) for s in samples if s.name == "fallow_capacity_devices"}
    assert len(groups) == 3
    for site, model in groups:
        of_group = [s for s in samples if (s.labels.get("site"), s.labels.get("model")) == (site, model)]
        seen = sum(s.value for s in of_group if s.name == "fallow_capacity_seen_devices")
        assert seen == sum(s.value for s in of_group if s.name == "fallow_capacity_devices")


def test_capacity_says_what_it_is_worth_and_leaves_out_what_is_not_known() -> None:
    samples = list(capacity_samples(MemoryAnswers().capacity(Where())))

    def values(name: str, vendor: str) -> dict[str, float]:
        """By the label that only this family has."""
        own = ("precision", "size", "within", "kind")
        return {
            next((s.labels[label] for label in own if label in s.labels), ""): s.value
            for s in samples if s.name == f"fallow_capacity_{name}" and s.labels["vendor"] == vendor
        }

    assert values("idle_flops", "nvidia") == {"fp16": 6 * 989e12, "fp32": 6 * 67e12}
    assert values("idle_flops", "intel") == {}
    assert values("idle_flops_unknown_devices", "intel") == {"fp16": 1, "fp32": 1}
    assert values("fragmentation_ratio", "nvidia") == {"1": 0, "2": 0, "4": 1 - 4 / 6, "8": 1}
    assert values("largest_block_devices", "nvidia") == {"node": 6}
    assert values("ineffective_devices", "nvidia")["idle"] == 6
    assert all(s.labels["density"] == "dense" for s in samples if s.name == "fallow_capacity_idle_flops")


def test_capacity_says_how_old_and_how_complete_it_is() -> None:
    answers = MemoryAnswers()
    by_name = {s.name: s.value for s in capacity_samples(answers.capacity(Where()))}
    assert by_name["fallow_capacity_complete"] == 0
    assert by_name["fallow_capacity_age_seconds"] == 0.4
    answers.members.clear()
    by_name = {s.name: s.value for s in capacity_samples(answers.capacity(Where()))}
    assert by_name == {"fallow_capacity_complete": 1}  # nothing counted idle: its age is not known, and not 0


@pytest.mark.server("promtool")
@pytest.mark.parametrize("path", ["/metrics", "/metrics/devices", "/metrics/devices?site=north&node=gpu-01"])
def test_promtool_finds_nothing_to_say(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=answer.content, capture_output=True, timeout=60, check=False
    )
    assert (checked.stdout + checked.stderr).decode() == ""
    assert checked.returncode == 0


def test_devices_are_filtered_by_site_and_node(http: httpx.Client) -> None:
    text = http.get("/metrics/devices", params={"node": "npu-01"}).text
    assert 'node="npu-01"' in text
    assert 'node="gpu-01"' not in text
    assert 'NPU-0a5ce4d0-0910",node="npu-01"} 93.1' in text


def test_a_device_that_does_not_say_is_absent_from_its_metric(http: httpx.Client) -> None:
    lines = http.get("/metrics/devices").text.splitlines()
    unread = [line for line in lines if "GPU-70c0ffee" in line]
    assert not [line for line in unread if "power_watts" in line]
    assert [line for line in unread if "memory_limit_bytes" in line]
