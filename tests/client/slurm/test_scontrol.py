import pytest

from fallow_client.slurm.errors import SlurmError
from fallow_client.slurm.scontrol import Gres, gres_conf_path, gres_of, jobs, nodes
from tests.client.slurm.captures import capture


def test_nodes_of_the_real_slurm_say_what_they_have_and_what_is_used() -> None:
    first, second = nodes(capture("nodes.txt"))
    assert (first.name, first.states, first.gres, first.used, first.problem) == (
        "node0", {"MIXED"}, (Gres("h100", 8, None),), (0, 1, 2, 3, 4), ""
    )
    assert second.used == (0, 1)
    assert {node.used for node in nodes(capture("nodes_idle.txt"))} == {()}


def test_jobs_of_the_real_slurm_say_who_holds_what_and_one_that_waits_holds_nothing() -> None:
    running, wide, waiting = jobs(capture("jobs.txt"))
    assert (running.job, running.user, running.holds) == ("1", "root", (("node0", 0), ("node0", 1), ("node0", 2)))
    assert wide.holds == (("node0", 3), ("node0", 4), ("node1", 0), ("node1", 1))
    assert waiting.holds == ()


NODE = "NodeName=n1 Gres=gpu:8 GresUsed=%s State=%s ThreadsPerCore=1"


@pytest.mark.parametrize("used", [
    "gpu:3(IDX:0-1)", "gpu:3(IDX:N/A)", "gpu:3", "gpu:1(IDX:x)", "(null)", "N/A", "", "gpu", "gpu:(IDX:0)",
    "gpu:0(IDX:N/A),shard:2(1/4,1/4)", "gpu:0(IDX:N/A),mps:h100:50(50/100)",
    "gpu:a:1(IDX:1),gpu:b:1(IDX:4),shard:a:1(IDX:0),shard:b:0(IDX:N/A)",
])
def test_use_that_cannot_be_read_is_a_problem_and_never_nothing(used: str) -> None:
    (node,) = nodes(NODE % (used, "IDLE"))
    assert node.problem


def test_gpus_without_a_type_are_a_problem_once_one_is_used_because_slurm_does_not_say_which() -> None:
    idle, busy = (nodes(NODE % (used, "MIXED"))[0] for used in ("gpu:0", "gpu:3"))
    assert (idle.used, idle.problem) == ((), "")
    assert "give them one in gres.conf" in busy.problem


@pytest.mark.parametrize(("used", "indices"), [
    ("gpu:0(IDX:N/A)", ()), ("gpu:h100:2(IDX:0,7)", (0, 7)), ("gpu:a:1(IDX:0),gpu:b:2(IDX:3-4)", (0, 3, 4)),
    ("gpu:1(IDX:5),shard:0(0/4,0/4),craynetwork:0", (5,)),
    ("gpu:a:0(IDX:N/A),gpu:b:1(IDX:4),shard:a:0(IDX:N/A),shard:b:0(IDX:N/A)", (4,)),
])
def test_use_is_read_by_index(used: str, indices: tuple[int, ...]) -> None:
    assert nodes(NODE % (used, "IDLE"))[0].used == indices


@pytest.mark.parametrize(("state", "states"), [
    ("IDLE", {"IDLE"}), ("MIXED+DRAIN", {"MIXED", "DRAIN"}), ("DOWN*+DRAIN", {"DOWN", "DRAIN"}),
    ("IDLE*", {"IDLE"}), ("IDLE+CLOUD+POWERED_DOWN", {"IDLE", "CLOUD", "POWERED_DOWN"}),
])
def test_states_are_words_without_their_marks(state: str, states: set[str]) -> None:
    assert nodes(NODE % ("gpu:0(IDX:N/A)", state))[0].states == states


def test_a_reason_comes_with_whose_it_is_and_since_when() -> None:
    (node,) = nodes(NODE % ("gpu:0(IDX:N/A)", "IDLE+DRAIN") + "   Reason=fallow: a b [root@2026-11-22T04:01:49]")
    assert (node.reason, node.reason_user, node.reason_time) == ("fallow: a b", "root", "2026-11-22T04:01:49")


@pytest.mark.parametrize("text", ["", "\n", "slurm_load_node error: Unable to contact slurm controller", "NodeName=n1"])
def test_output_that_is_no_list_of_nodes_is_an_error(text: str) -> None:
    with pytest.raises(SlurmError):
        nodes(text)


def test_a_job_s_name_cannot_make_a_node_s_devices_used() -> None:
    line = "JobId=7 JobName=x Nodes=node1 CPU_IDs=0 Mem=0 GRES=gpu:8(IDX:0-7) UserId=eve(1) JobState=RUNNING"
    assert jobs(line)[0].holds  # it names itself as the holder, at most, of what the node says is used


def test_sockets_behind_a_count_are_not_indices() -> None:
    assert gres_of("gpu:h100:8(S:0-1)") == (Gres("h100", 8, None),)


def test_gres_conf_is_beside_slurm_conf() -> None:
    assert gres_conf_path("X = 1\nSLURM_CONF              = /etc/slurm/slurm.conf\n") == "/etc/slurm/gres.conf"
    with pytest.raises(SlurmError, match="SLURM_CONF"):
        gres_conf_path("")
