import pytest

from fallow_client.slurm.errors import SlurmError
from fallow_client.slurm.gres import parse
from fallow_client.slurm.ledger import ledger_of
from fallow_client.slurm.scontrol import Gres, jobs, nodes
from fallow_proto.dispatch import Job, Owned
from tests.client.slurm.captures import capture

EIGHT = (Gres("h100", 8, None),)
CONF = "AutoDetect=off\nNodeName=node[0-1] Name=gpu Type=h100 File=/dev/nvidia[0-7]\n"


def test_the_real_slurm_s_state_becomes_an_import_by_minor_number() -> None:
    taken = ledger_of(nodes(capture("nodes.txt")), jobs(capture("jobs.txt")), parse(CONF), 0.5)
    assert taken.age_s == 0.5
    assert taken.nodes == [Owned(node=name, minors=list(range(8))) for name in ("node0", "node1")]
    assert taken.jobs == [
        Job(node=node, holder=f"job {job} of root", minor=minor)
        for node, job, minor in (("node0", 1, 0), ("node0", 1, 1), ("node0", 1, 2), ("node0", 2, 3), ("node0", 2, 4),
                                 ("node1", 2, 0), ("node1", 2, 1))
    ]


def test_an_index_is_translated_into_the_minor_behind_it() -> None:
    conf = parse("Name=gpu File=/dev/nvidia[4-7]")
    (node,) = nodes("NodeName=n1 Gres=gpu:4 GresUsed=gpu:1(IDX:0) State=MIXED")
    assert ledger_of([node], [], conf, 0.0).jobs == [Job(node="n1", holder="a job", minor=4)]


def test_a_node_that_cannot_be_read_is_unknown_by_name_and_stops_no_other() -> None:
    text = (
        "NodeName=n1 Gres=gpu:2 GresUsed=N/A State=IDLE\n"
        "NodeName=n2 Gres=gpu:2 GresUsed=gpu:1(IDX:1) State=MIXED\n"
        "NodeName=n3 Gres=(null) GresUsed=(null) State=IDLE\n"
    )
    taken = ledger_of(nodes(text), [], parse("Name=gpu File=/dev/nvidia[0-1]"), 0.0)
    assert [(owned.node, owned.minors) for owned in taken.nodes] == [("n1", None), ("n2", [0, 1])]
    assert "GresUsed is N/A" in taken.nodes[0].problem
    assert [job.node for job in taken.jobs] == ["n2"]


@pytest.mark.parametrize("text", [
    "Name=gpu AutoDetect=nvml",
    "AutoDetect=nvml\nName=gpu File=/dev/nvidia[0-7]",
    "AutoDetect=off\nNodeName=node0 AutoDetect=rsmi Name=gpu File=/dev/nvidia[0-7]",
    "NodeName=node1 Name=gpu File=/dev/nvidia[0-7]",
    "Name=gpu Count=8",
    "",
])
def test_a_node_whose_device_files_slurm_finds_itself_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SlurmError, match="set AutoDetect=off for it and list them"):
        parse(text).minors("node0", EIGHT)


@pytest.mark.parametrize("text", [
    "Name=gpu File=/dev/nvidia[4-7]\nName=gpu File=/dev/nvidia[0-3]", "Name=gpu File=/dev/nvidia[1,0,2-7]",
    "Name=gpu File=/dev/nvidia[0-7]\nName=gpu File=/dev/nvidia0",
])
def test_an_order_that_slurm_might_count_in_another_way_is_refused(text: str) -> None:
    with pytest.raises(SlurmError, match="order in which Slurm counts"):
        parse(text).minors("node0", EIGHT)


def test_slurm_counts_by_type_in_slurm_conf_s_order_so_files_must_come_in_that_order_too() -> None:
    conf = parse("Name=gpu Type=h100 File=/dev/nvidia[0-3]\nName=gpu Type=a100 File=/dev/nvidia[4-5]")
    assert conf.minors("n1", (Gres("h100", 4, None), Gres("a100", 2, None))) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(SlurmError, match="order in which Slurm counts"):
        conf.minors("n1", (Gres("a100", 2, None), Gres("h100", 4, None)))


def test_a_count_that_differs_from_the_files_is_refused() -> None:
    with pytest.raises(SlurmError, match=r"has 8 GPUs there, and gres\.conf lists 4"):
        parse("Name=gpu File=/dev/nvidia[0-3]").minors("n1", EIGHT)


@pytest.mark.parametrize("text", ["Name=gpu File", "include other.conf", "Name=gpu File=/dev/nvidia[0-"])
def test_a_gres_conf_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(SlurmError):
        parse(text)


def test_comments_case_and_continued_lines_are_understood() -> None:
    text = "# gpus\nAUTODETECT=Off\nnodename=n1 \\\n name=gpu FILE=/dev/nvidia[0-7] # eight\nName=mps Count=100\n"
    assert parse(text).minors("n1", EIGHT) == list(range(8))
