"""Slurm's device numbers are places in gres.conf."""

import pytest

from fallow_agent.gres import expanded, minors_of, numbers


@pytest.mark.parametrize(("expression", "names"), [
    ("node0", ["node0"]),
    ("node[0-1]", ["node0", "node1"]),
    ("node[08-10,12],login", ["node08", "node09", "node10", "node12", "login"]),
    ("r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]),
    ("/dev/nvidia[0-1],/dev/nvidia7", ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia7"]),
    ("", []),
])
def test_slurms_short_form_is_expanded(expression: str, names: list[str]) -> None:
    assert expanded(expression) == names


@pytest.mark.parametrize(("listed", "found"), [("", []), ("0", [0]), ("0,1,4-7", [0, 1, 4, 5, 6, 7]), ("10", [10])])
def test_a_list_of_devices_is_numbers_and_spans(listed: str, found: list[int]) -> None:
    assert numbers(listed) == found


@pytest.mark.parametrize("listed", ["GPU-1", "1,,2", "a-b", "0,"])
def test_a_list_that_makes_no_sense_is_an_error(listed: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        numbers(listed)


@pytest.mark.parametrize(("gres_conf", "minors"), [
    # The first four were seen with Slurm 22.05.8: SLURM_JOB_GPUS counts from 0 whatever the files are called.
    ("NodeName=node0 Name=gpu Type=h100 File=/dev/nvidia[0-7]", [0, 1, 2, 3, 4, 5, 6, 7]),
    ("AutoDetect=off\nNodeName=node0 Name=gpu Type=h100 File=/dev/nvidia[2-7]", [2, 3, 4, 5, 6, 7]),
    ("NodeName=node0 Name=gpu Type=a File=/dev/nvidia[4-7]\nNodeName=node0 Name=gpu Type=b File=/dev/nvidia[0-1]",
     [4, 5, 6, 7, 0, 1]),
    ("Name=gpu File=/dev/nvidia3", [3]),
    ("name=GPU FILE=/dev/nvidia[0,2] # two of four\n#Name=gpu File=/dev/nvidia9", [0, 2]),
    ("NodeName=node[0-3] Name=gpu \\\n File=/dev/nvidia1\nNodeName=node9 Name=gpu File=/dev/nvidia5", [1]),
    ("NodeName=node9 Name=gpu File=/dev/nvidia5", None),
    ("Name=mps Count=100 File=/dev/nvidia0", None),
    ("AutoDetect=nvml", None),
    ("Name=gpu Type=a File=/dev/nvidia0\nName=gpu Type=b Count=2", None),
    ("", None),
])
def test_the_order_of_the_files_says_which_device_a_number_is(gres_conf: str, minors: list[int] | None) -> None:
    assert minors_of(gres_conf, "node0") == minors
