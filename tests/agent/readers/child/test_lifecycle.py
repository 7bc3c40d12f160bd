"""The life of a reader's process as tables: what is heard, and when, against what is done."""

from collections.abc import Callable

import pytest

from fallow_agent.readers import messages as m
from fallow_agent.readers.lifecycle import Action, Fork, HangUp, Lifecycle, Limits, Phase, Send, Tell
from fallow_agent.readers.status import State, Status
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

OPENED = m.Opened((), {})
READ = m.Read({})
ASK = m.Ask((Group.FAST,))
LIMITS = Limits(answer=5, open=30, stop=2, first_retry=1, last_retry=4, absent_retry=60, held_retry=10, steady=60)


def told(actions: list[Action]) -> list[object]:
    return [action.answer for action in actions if isinstance(action, Tell)]


def opening(now: float = 0.0) -> Lifecycle:
    life = Lifecycle("test", now, LIMITS)
    assert life.tick(now) == [Fork()]
    return life


def ready(now: float = 0.0) -> Lifecycle:
    life = opening(now)
    life.heard(OPENED, now)
    return life


def asked(now: float = 0.0) -> Lifecycle:
    life = ready(now)
    assert life.ask(ASK.groups, now) == [Send(ASK)]
    return life


def test_nothing_is_known_before_the_first_answer() -> None:
    life = opening()
    assert not life.settled
    assert (life.status.state, life.status.reason) == (State.FAILED, pb.REASON_FAILED)
    assert told(life.heard(OPENED, 1.0)) == [Status("test", State.OK, 1.0), OPENED]
    assert life.settled


def test_only_one_question_is_open_at_a_time() -> None:
    life = asked()
    assert life.ask(ASK.groups, 1.0) == []
    assert told(life.heard(READ, 1.5)) == [READ]
    assert life.ask(ASK.groups, 2.0) == [Send(ASK)]


def test_an_answer_in_time_is_no_fault_and_one_after_the_deadline_is() -> None:
    life = asked(10.0)
    assert life.deadline == 15.0
    assert life.tick(14.9) == []
    (status,) = told(life.tick(15.0))
    assert isinstance(status, Status)
    assert (status.state, status.since, status.reason) == (State.STUCK, 15.0, pb.REASON_STUCK)


def test_a_stuck_process_is_neither_ended_nor_asked_nor_doubled_however_long_it_takes() -> None:
    life = asked(0.0)
    life.tick(5.0)
    assert life.deadline is None
    assert life.tick(1e6) == []
    assert life.ask(ASK.groups, 1e6) == []


def test_what_comes_after_the_deadline_is_too_old_to_be_told() -> None:
    life = asked(0.0)
    life.tick(5.0)
    assert told(life.heard(READ, 100.0)) == [Status("test", State.OK, 100.0)]
    life.ask(ASK.groups, 101.0)
    assert told(life.heard(READ, 101.1)) == [READ]


@pytest.mark.parametrize(
    ("message", "state", "reason", "wait"),
    [
        (m.Absent("no library"), State.ABSENT, pb.REASON_OK, 60.0),
        (m.Held(42), State.STUCK, pb.REASON_STUCK, 10.0),
        (m.Failed("driver not loaded", pb.REASON_DRIVER), State.FAILED, pb.REASON_DRIVER, 1.0),
        (m.Failed("KeyError: 1", pb.REASON_FAILED), State.FAILED, pb.REASON_FAILED, 1.0),
        (m.Exited(-11), State.FAILED, pb.REASON_FAILED, 1.0),
        (m.Ended(), State.OK, pb.REASON_OK, 0.0),
    ],
)
@pytest.mark.parametrize("in_phase", [ready, asked])
def test_last_words_set_the_state_and_when_to_try_again(
    in_phase: Callable[[float], Lifecycle], message: m.FromChild, state: State, reason: pb.Reason.ValueType, wait: float
) -> None:
    life = in_phase(0.0)
    life.heard(message, 3.0)
    assert (life.status.state, life.status.reason) == (state, reason)
    assert Fork() not in life.tick(1e6)  # not before the old process is gone
    assert life.hung_up(3.1) == [HangUp()]
    assert life.tick(2.9 + wait) == []
    assert life.tick(3.0 + max(wait, 0.1)) == [Fork()]


def test_failure_after_failure_is_retried_ever_later() -> None:
    life = Lifecycle("test", 0.0, LIMITS)
    now, waits = 0.0, []
    for _ in range(5):
        assert life.tick(now) == [Fork()]
        life.heard(m.Failed("no driver", pb.REASON_DRIVER), now)
        life.hung_up(now)
        assert life.deadline is not None
        waits.append(life.deadline - now)
        now = life.deadline
    assert waits == [1, 2, 4, 4, 4]


def test_a_failure_after_long_service_is_retried_soon() -> None:
    life = opening()
    for _ in range(3):
        life.heard(m.Failed("no driver", pb.REASON_DRIVER), 0.0)
        life.hung_up(0.0)
        life.tick(100.0)
    life.heard(OPENED, 100.0)
    life.heard(m.Exited(1), 160.0)
    life.hung_up(160.0)
    assert life.deadline == 161.0


def test_the_same_failure_again_is_told_once_and_keeps_its_beginning() -> None:
    life = ready()
    assert len(told(life.heard(m.Failed("no driver", pb.REASON_DRIVER), 1.0))) == 1
    life.hung_up(1.0)
    life.tick(2.0)
    assert told(life.heard(m.Failed("no driver", pb.REASON_DRIVER), 3.0)) == []
    assert life.status.since == 1.0
    life.hung_up(3.0)
    life.tick(9.0)
    (status,) = told(life.heard(m.Failed("no device", pb.REASON_DRIVER), 9.5))
    assert isinstance(status, Status)
    assert (status.message, status.since) == ("no device", 1.0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "ended by SIGSEGV"), (-9, "ended by SIGKILL"), (3, "with status 3"), (-63, "signal 63"),
    ],
)
def test_how_a_process_died_is_said(code: int, words: str) -> None:
    life = asked()
    life.heard(m.Exited(code), 1.0)
    assert words in life.status.message


def test_a_process_that_is_gone_without_a_word_has_failed() -> None:
    life = asked()
    actions = life.hung_up(1.0)
    assert actions[0] == HangUp()
    assert "without a word" in life.status.message
    assert life.tick(2.0) == [Fork()]


@pytest.mark.parametrize("in_phase", [opening, ready, asked])
def test_stopping_lets_a_reader_close_its_devices_but_not_for_ever(in_phase: Callable[[float], Lifecycle]) -> None:
    life = in_phase(0.0)
    assert life.stop(1.0) == [Send(m.Close())]
    assert life.tick(2.9) == []
    assert life.tick(3.0) == [HangUp()]
    assert life.phase is Phase.OVER
    assert life.tick(1e6) == []


def test_a_reader_that_closed_in_good_order_is_over_at_once() -> None:
    life = ready()
    life.stop(1.0)
    assert life.heard(m.Ended(), 1.1) == []
    assert life.hung_up(1.2) == [HangUp()]
    assert life.phase is Phase.OVER


@pytest.mark.parametrize("last_words", [m.Ended(), m.Failed("no driver", pb.REASON_DRIVER), m.Absent("no library")])
def test_a_process_that_does_not_end_after_its_last_words_is_stuck_until_it_does(last_words: m.FromChild) -> None:
    life = asked(10.0)
    life.heard(last_words, 10.0)
    assert life.deadline is not None
    (status,) = told(life.tick(life.deadline))
    assert isinstance(status, Status)
    assert (status.state, status.reason) == (State.STUCK, pb.REASON_STUCK)
    assert life.tick(1e6) == []
    assert life.hung_up(1e6) == [HangUp()]
    assert life.tick(1e6) == [Fork()]


def test_a_process_that_cannot_be_started_is_a_failure_and_tried_again() -> None:
    life = opening()
    (status,) = told(life.unheard("its process cannot be started: Too many open files", 0.0))
    assert isinstance(status, Status)
    assert (status.state, status.message) == (State.FAILED, "its process cannot be started: Too many open files")
    assert life.tick(1.0) == [Fork()]


def test_stopping_a_stuck_reader_or_one_at_rest_waits_for_nothing() -> None:
    life = asked()
    life.tick(5.0)
    assert life.stop(6.0) == [HangUp()]
    assert life.phase is Phase.OVER
    life = Lifecycle("test", 0.0, LIMITS)
    assert life.stop(0.0) == []
    assert life.phase is Phase.OVER


@pytest.mark.parametrize("in_phase", [opening, ready, asked])
def test_a_quiesced_reader_closes_its_devices_and_has_no_process_until_it_resumes(
    in_phase: Callable[[float], Lifecycle]
) -> None:
    life = in_phase(0.0)
    assert life.quiesce("until noon", 1.0) == [Send(m.Close())]
    assert life.heard(m.Ended(), 1.1) == []
    hung_up, *rest = life.hung_up(1.2)
    assert hung_up == HangUp()
    assert told(rest) == [Status("test", State.QUIESCED, 1.2, "until noon", pb.REASON_QUIESCED)]
    assert life.deadline is None
    assert life.tick(1e6) == []
    life.resume(1e6)
    assert life.tick(1e6) == [Fork()]
    assert told(life.heard(OPENED, 1e6 + 1)) == [Status("test", State.OK, 1e6 + 1), OPENED]


def test_a_reader_that_does_not_let_go_is_stuck_and_quiesced_once_it_comes_back() -> None:
    life = asked()
    life.quiesce("until noon", 1.0)
    assert life.deadline == 5.0  # the read that is under way may take so long
    (status,) = told(life.tick(5.0))
    assert isinstance(status, Status)
    assert (status.state, "letting go" in status.message) == (State.STUCK, True)
    assert life.deadline is None
    assert life.heard(READ, 60.0) == []
    assert life.heard(m.Ended(), 60.0) == []
    assert life.tick(60.0) == []
    (_, quiet) = life.hung_up(60.1)
    assert told([quiet]) == [Status("test", State.QUIESCED, 60.1, "until noon", pb.REASON_QUIESCED)]


def test_a_reader_that_hangs_already_stays_stuck_until_it_comes_back() -> None:
    life = asked()
    life.tick(5.0)
    assert life.quiesce("until noon", 6.0) == [Send(m.Close())]
    assert (life.deadline, life.status.state) == (None, State.STUCK)
    life.resume(7.0)
    assert life.tick(1e6) == []  # no second process on a stuck driver
    life.hung_up(1e6)
    assert life.tick(1e6) == [Fork()]


def test_what_rests_is_quiesced_at_once_but_what_is_absent_or_held_by_another_is_not() -> None:
    failed, absent, held = ready(), ready(), ready()
    failed.heard(m.Failed("no driver", pb.REASON_DRIVER), 1.0)
    absent.heard(m.Absent("nothing"), 1.0)
    held.heard(m.Held(77), 1.0)
    held.heard(m.Exited(0), 1.0)
    for life in (failed, absent, held):
        life.hung_up(1.0)
    assert [bool(told(life.quiesce("until noon", 2.0))) for life in (failed, absent, held)] == [True, False, False]
    assert [life.status.state for life in (failed, absent, held)] == [State.QUIESCED, State.ABSENT, State.STUCK]
    for life in (failed, absent, held):
        assert life.tick(1e6) == []
        life.resume(1e6)
        assert life.tick(1e6) == [Fork()]


def test_a_quiesced_reader_stops_like_any_other() -> None:
    life = ready()
    life.quiesce("until noon", 1.0)
    assert life.stop(1.5) == []
    assert life.tick(3.5) == [HangUp()]
    assert life.phase is Phase.OVER
