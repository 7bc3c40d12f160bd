from dataclasses import replace
from datetime import datetime

import pytest

from fallow_client.slurm.drain import Action, Drain, Facts, Resume, lately, plan
from fallow_client.slurm.scontrol import SlurmNode, nodes
from fallow_proto import api
from tests.collector.api.memory import device

GPUS = 2


def node(name: str = "n1", state: str = "IDLE", reason: str = "") -> SlurmNode:
    told = f"   Reason={reason}" if reason else ""
    (found,) = nodes(f"NodeName={name} Gres=gpu:{GPUS} GresUsed=gpu:0(IDX:N/A) State={state}{told}")
    return found


OURS = "fallow: device minor 0 is faulty: device_lost [slurm@2026-03-01T11:00:00]"


def gpu(minor: int = 0, name: str = "n1", **changes: object) -> api.Device:
    return device(f"{name}-{minor}", **{"node": name, "minor": minor, "ledger": "slurm", **changes})


STRANGER = gpu(phase="unmanaged", occupancy="active", reasons=["active", "process_present"])
FAULTY = gpu(phase="faulty", health="failed", reasons=["device_lost"])
WELL = (gpu(0), gpu(1))


def facts(*slurm: SlurmNode, **changes: object) -> Facts:
    quiet = Facts(
        slurm=slurm, reading_age_s=1.0, answer_age_s=0.2, suspects=(), freshness={one.name: "live" for one in slurm},
        ours=(), recent=frozenset(), us="slurm",
    )
    return replace(quiet, **changes)  # type: ignore[arg-type]


def actions(given: Facts) -> list[Action]:
    return plan(given).actions


def test_a_device_in_use_for_two_minutes_that_no_job_has_drains_its_node() -> None:
    assert actions(facts(node(), suspects=[(STRANGER, 120.0)])) == [
        Drain("n1", "fallow: device minor 0 is in use and no job has it: active, process_present")
    ]


def test_a_faulty_device_drains_its_node_at_once() -> None:
    assert actions(facts(node(), suspects=[(FAULTY, 0.0)])) == [
        Drain("n1", "fallow: device minor 0 is faulty: device_lost")
    ]


@pytest.mark.parametrize(("suspect", "for_s"), [
    (STRANGER, 119.0),
    (gpu(phase="unmanaged", allocation="leased"), 500.0),
    (gpu(phase="unmanaged", freshness="stale"), 500.0),
    (gpu(phase="unmanaged", name="elsewhere"), 500.0),
])
def test_what_is_new_or_a_job_s_or_not_seen_or_not_slurm_s_drains_nothing(suspect: api.Device, for_s: float) -> None:
    assert actions(facts(node(), suspects=[(suspect, for_s)])) == []


@pytest.mark.parametrize("state", ["IDLE+DRAIN", "DOWN*", "IDLE+MAINT", "MIXED+DRAIN", "IDLE+POWERED_DOWN"])
def test_a_node_that_is_out_of_service_already_is_left_alone(state: str) -> None:
    assert actions(facts(node(state=state), suspects=[(FAULTY, 0.0)])) == []


@pytest.mark.parametrize("changes", [
    {"answer_age_s": 11.0}, {"reading_age_s": 11.0}, {"freshness": {"n1": "live", "n2": "stale"}},
    {"freshness": {"n1": "live", "n2": "lost"}}, {"freshness": {"n1": "live"}},
])
def test_on_old_or_incomplete_answers_nothing_is_done_at_all(changes: dict[str, object]) -> None:
    given = facts(node(), node("n2"), node("n3", "IDLE+DRAIN", OURS), suspects=[(FAULTY, 0.0)], ours=WELL)
    found = plan(replace(given, **changes))  # type: ignore[arg-type]
    assert found.actions == []
    assert found.held_back


def test_a_node_that_slurm_itself_knows_to_be_down_makes_no_answer_incomplete() -> None:
    given = facts(node(), node("n2", "DOWN*"), freshness={"n1": "live", "n2": "lost"}, suspects=[(FAULTY, 0.0)])
    assert len(actions(given)) == 1


def test_at_most_two_percent_of_the_nodes_and_at_least_one_are_drained_within_the_window() -> None:
    few = [node(f"n{number}") for number in range(10)]
    bad = [(gpu(name=one.name, phase="faulty", health="failed"), 0.0) for one in few]
    found = plan(facts(*few, suspects=bad))
    assert [action.node for action in found.actions] == ["n0"]
    assert len(found.held_back) == 9
    assert actions(facts(*few, suspects=bad, recent=frozenset({"n7"}))) == []

    many = [node(f"m{number:03}") for number in range(150)]
    bad = [(gpu(name=one.name, phase="faulty", health="failed"), 0.0) for one in many]
    assert len(actions(facts(*many, suspects=bad))) == 3
    assert len(actions(facts(*many, suspects=bad, recent=frozenset({"m149"})))) == 2


def test_our_own_drain_is_lifted_when_everything_on_the_node_is_well() -> None:
    assert actions(facts(node(state="IDLE+DRAIN", reason=OURS), ours=WELL)) == [Resume("n1")]


@pytest.mark.parametrize("reason", [
    "fan is loud [root@2026-03-01T11:00:00]", "fallow: keep it [alice@2026-03-01T11:00:00]", "",
])
def test_what_somebody_else_drained_or_gave_another_reason_to_is_left_alone(reason: str) -> None:
    assert actions(facts(node(state="IDLE+DRAIN", reason=reason), ours=WELL)) == []


@pytest.mark.parametrize("changes", [
    {"phase": "faulty", "health": "failed"}, {"phase": "unmanaged"}, {"freshness": "stale"}, {"freshness": "absent"},
    {"phase": "unknown"}, {"allocation": "unknown"}, {"health": "unknown"},
])
def test_a_drain_stays_while_any_device_of_the_node_is_not_well(changes: dict[str, object]) -> None:
    drained = node(state="IDLE+DRAIN", reason=OURS)
    assert actions(facts(drained, ours=(gpu(0), gpu(1, **changes)))) == []


def test_a_drain_stays_while_a_device_is_missing_or_the_node_is_down() -> None:
    assert actions(facts(node(state="IDLE+DRAIN", reason=OURS), ours=WELL[:1])) == []
    assert actions(facts(node(state="DOWN+DRAIN", reason=OURS), ours=WELL)) == []


@pytest.mark.parametrize(("state", "reason", "counts"), [
    ("IDLE+DRAIN", "fallow: x [slurm@2026-03-01T11:00:00]", True),
    ("MIXED+DRAIN", "fallow: x [slurm@2026-03-01T10:51:00]", True),
    ("IDLE+DRAIN", "fallow: x [slurm@2026-03-01T10:49:59]", False),
    ("IDLE+DRAIN", "fallow: x [slurm@2026-03-01T11:07:00]", True),  # the clock was set back
    ("IDLE+DRAIN", "fallow: x [slurm@yesterday]", True),
    ("IDLE+DRAIN", "fallow: x [alice@2026-03-01T11:00:00]", False),
    ("IDLE+DRAIN", "fan is loud [slurm@2026-03-01T11:00:00]", False),
    ("IDLE", "fallow: x [slurm@2026-03-01T11:00:00]", False),
])
def test_slurm_s_own_record_says_what_we_drained_lately(state: str, reason: str, counts: bool) -> None:
    now = datetime(2026, 3, 1, 11, 0, 0).astimezone()
    assert lately([node(state=state, reason=reason)], "slurm", now) == ({"n1"} if counts else set())
