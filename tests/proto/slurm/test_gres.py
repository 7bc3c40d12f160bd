"""Slurm's numbers against what its own daemons said of them, and what is refused because they cannot be known."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fallow_proto.slurm.gres import parse
from fallow_proto.slurm.ranges import numbers

SEEN = json.loads((Path(__file__).parents[2] / "data" / "slurm" / "numbers.json").read_text())
EIGHT = [("h100", 8)]


def types(gres: str) -> list[tuple[str, int]]:
    """Of gpu:a:4,gpu:2."""
    return [(kind, int(count)) for kind, count in re.findall(r"gpu:(?:([^:,]+):)?(\d+)", gres)]


@pytest.mark.parametrize("case", SEEN, ids=lambda case: case["case"].replace(" ", "_"))
def test_numbers_mean_the_files_that_the_real_slurmd_gave_them(case: dict[str, Any]) -> None:
    conf = parse("\n".join(case["gres_conf"]))
    if case["devices"] is None:  # slurmctld takes no such node
        with pytest.raises(ValueError, match=r"gres\.conf (lists|does not say)"):
            conf.minors("node0", types(case["slurm_conf_gres"]))
        return
    assert conf.minors("node0", types(case["scontrol_gres"])) == case["devices"]


@pytest.mark.parametrize("case", SEEN, ids=lambda case: case["case"].replace(" ", "_"))
def test_without_the_node_s_types_numbers_are_the_same_or_not_known(case: dict[str, Any]) -> None:
    try:
        found = parse("\n".join(case["gres_conf"])).minors("node0", None)
    except ValueError:
        return
    assert case["devices"] is None or found[:len(case["devices"])] == case["devices"]


@pytest.mark.parametrize("case", SEEN, ids=lambda case: case["case"].replace(" ", "_"))
def test_a_prolog_has_the_numbers_that_scontrol_tells(case: dict[str, Any]) -> None:
    for job in case["jobs"]:
        assert numbers(job["prolog"]) == numbers(re.findall(r"IDX:([^)]*)", job["scontrol"])[0])


def test_with_one_type_the_node_s_own_file_is_enough() -> None:
    conf = parse("Name=gpu Type=h100 File=/dev/nvidia[6-7]\nName=gpu Type=h100 File=/dev/nvidia[0-3]")
    assert conf.minors("node0", None) == [6, 7, 0, 1, 2, 3]


def test_with_two_types_it_is_not_because_slurm_conf_has_their_order() -> None:
    conf = parse("Name=gpu Type=b File=/dev/nvidia[0-1]\nName=gpu Type=a File=/dev/nvidia[4-7]")
    with pytest.raises(ValueError, match="by type in the order"):
        conf.minors("node0", None)


@pytest.mark.parametrize("text", [
    "Name=gpu AutoDetect=nvml",
    "AutoDetect=nvml\nName=gpu Type=h100 File=/dev/nvidia[0-7]",
    "AutoDetect=off\nNodeName=node0 AutoDetect=rsmi Name=gpu Type=h100 File=/dev/nvidia[0-7]",
    "NodeName=node0 AutoDetect=nvml\nName=gpu Type=h100 File=/dev/nvidia[0-7]",
    "NodeName=node1 Name=gpu Type=h100 File=/dev/nvidia[0-7]",
    "Name=gpu Type=h100 File=/dev/nvidia[0-5]\nName=gpu Type=h100 MultipleFiles=/dev/nvidia6,/dev/nvidia7",
    "Name=gpu Type=h100 File=/dev/nvidia[0-7]\nName=gpu Type=h100 Count=2",
    "Name=gpu Count=8",
    "Name=mps Count=100 File=/dev/nvidia0",
    "",
])
@pytest.mark.parametrize("of", [EIGHT, None])
def test_a_node_whose_device_files_slurm_finds_itself_is_refused_with_what_to_write(
    text: str, of: list[tuple[str, int]] | None
) -> None:
    with pytest.raises(ValueError, match="set AutoDetect=off for it and list them"):
        parse(text).minors("node0", of)


def test_a_device_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        parse("Name=gpu File=/dev/nvidia[0-3]\nName=gpu File=/dev/nvidia0").minors("node0", None)


def test_a_file_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="does not end in a minor number"):
        parse("Name=gpu File=/dev/dri/card").minors("node0", None)


def test_a_count_above_the_files_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has 8 GPUs of type h100 there, and gres\.conf lists 4"):
        parse("Name=gpu Type=h100 File=/dev/nvidia[0-3]").minors("node0", EIGHT)


@pytest.mark.parametrize("text", ["Name=gpu File", "include other.conf", "Name=gpu File=/dev/nvidia[0-"])
def test_a_gres_conf_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|includes another"):
        parse(text)


def test_comments_case_quotes_and_continued_lines_are_understood() -> None:
    text = (
        "# gpus\nAUTODETECT=Off\nnodename=n1 \\\n name=GPU Type=\"h100\" FILE=/dev/nvidia[0-7] # eight\n"
        "Name=mps Count=100\nNodeName=n2 Name=gpu AutoDetect=nvml\nNodeName=n1 AutoDetect=off\n"
    )
    assert parse(text).minors("n1", EIGHT) == list(range(8))
