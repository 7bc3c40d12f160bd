from fallow_client.slurm.ledger import ledger_of
from fallow_client.slurm.scontrol import SlurmJob, jobs, nodes
from fallow_proto.dispatch import Job, Owned
from fallow_proto.slurm.gres import parse
from tests.client.slurm.captures import capture

CONF = "AutoDetect=off\nNodeName=node[0-1] Name=gpu Type=h100 File=/dev/nvidia[0-7]\n"


def test_the_real_slurm_s_state_becomes_an_import_by_minor_number() -> None:
    taken = ledger_of(nodes(capture("nodes.txt")), jobs(capture("jobs.txt")), parse(CONF), 0.5)
    assert taken.age_s == 0.5
    assert taken.nodes == [Owned(node=name, minors=list(range(8))) for name in ("node0", "node1")]
    assert taken.jobs == [
        Job(node=node, holder=f"job {job} of root", minor=minor, job=str(job), uid=0)
        for node, job, minor in (("node0", 1, 0), ("node0", 1, 1), ("node0", 1, 2), ("node0", 2, 3), ("node0", 2, 4),
                                 ("node1", 2, 0), ("node1", 2, 1))
    ]


def test_of_a_device_that_several_jobs_have_it_is_left_open_whose_processes_belong_there() -> None:
    (node,) = nodes("NodeName=n1 Gres=gpu:2 GresUsed=gpu:2(IDX:0-1) State=MIXED")
    both = [SlurmJob("7", "alice", (("n1", 0),), 1000), SlurmJob("8", "bob", (("n1", 0), ("n1", 1)), 1001)]
    assert ledger_of([node], both, parse("Name=gpu File=/dev/nvidia[0-1]"), 0.0).jobs == [
        Job(node="n1", holder="job 8 of bob", minor=0),
        Job(node="n1", holder="job 8 of bob", minor=1, job="8", uid=1001),
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


def test_a_node_whose_numbers_cannot_be_told_is_unknown_by_name() -> None:
    (node,) = nodes("NodeName=n1 Gres=gpu:h100:4 GresUsed=gpu:h100:1(IDX:0) State=MIXED")
    (owned,) = ledger_of([node], [], parse("AutoDetect=nvml\nName=gpu Type=h100 File=/dev/nvidia[0-3]"), 0.0).nodes
    assert (owned.minors, "set AutoDetect=off" in owned.problem) == (None, True)


def test_types_are_counted_in_the_order_of_the_node_and_not_of_gres_conf() -> None:
    conf = parse("Name=gpu Type=b File=/dev/nvidia[0-1]\nName=gpu Type=a File=/dev/nvidia[4-7]")
    (node,) = nodes("NodeName=n1 Gres=gpu:a:4,gpu:b:2 GresUsed=gpu:a:0(IDX:N/A),gpu:b:1(IDX:4) State=MIXED")
    taken = ledger_of([node], [], conf, 0.0)
    assert taken.nodes == [Owned(node="n1", minors=[4, 5, 6, 7, 0, 1])]
    assert [job.minor for job in taken.jobs] == [0]
