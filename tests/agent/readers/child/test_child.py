"""Readers' processes, real ones: what the agent sees of a reader that hangs, crashes, raises or comes back."""

import fcntl
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fallow_agent.readers import messages as m
from fallow_agent.readers.child import Answer, ReaderChild, Zygote
from fallow_agent.readers.lifecycle import Limits
from fallow_agent.readers.status import State, Status
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

PATIENCE = 60.0
FAST = (Group.FAST,)
QUICK = Limits(answer=0.3, open=5.0, stop=5.0, first_retry=0.05, held_retry=0.05, absent_retry=0.05)


def alive(pid: int) -> bool:
    """A process that only waits to be buried by init is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Bench:
    """Starts readers, drives them as the agent's loop does, and leaves no process behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.zygote = Zygote(readers=())
        self.children: list[ReaderChild] = []
        self.answers: list[Answer] = []

    def start(self, which: str, limits: Limits = QUICK, zygote: Zygote | None = None) -> ReaderChild:
        target = f"tests.agent.readers.child.readers_under_test:{which}"
        child = ReaderChild("test", zygote or self.zygote, self.folder, time.monotonic(), limits=limits, target=target)
        self.children.append(child)
        return child

    def until(self, child: ReaderChild, happened: Callable[[], bool]) -> None:
        """Drive a child until something happened."""
        give_up = time.monotonic() + PATIENCE
        while not happened():
            now = time.monotonic()
            assert now < give_up, f"{child.status}; answers so far: {self.answers}"
            self.answers += child.tick(now)
            select.select([child], [], [], 0.02)
            self.answers += child.receive(time.monotonic())

    def until_state(self, child: ReaderChild, state: State) -> Status:
        self.until(child, lambda: child.settled and child.status.state is state)
        return child.status

    def ask(self, child: ReaderChild) -> None:
        self.until(child, lambda: child.free)
        child.ask(FAST, time.monotonic())

    def reads(self) -> list[m.Read]:
        return [answer for answer in self.answers if isinstance(answer, m.Read)]

    def holder(self) -> int:
        return int((self.folder / "reader-test.lock").read_text())

    def close(self) -> None:
        (self.folder / "let-go").touch()
        for child in self.children:
            child.close()
        self.zygote.close()
        give_up = time.monotonic() + PATIENCE
        while (self.folder / "reader-test.lock").exists() and alive(self.holder()):
            assert time.monotonic() < give_up, f"process {self.holder()} is left behind"
            time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("FALLOW_TEST_FOLDER", str(tmp_path))
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_reader_names_its_devices_and_answers(bench: Bench) -> None:
    child = bench.start("Good")
    bench.ask(child)
    bench.until(child, lambda: bool(bench.reads()))
    opened, = (answer for answer in bench.answers if isinstance(answer, m.Opened))
    assert opened.devices[0].uuid == "dev-0"
    assert opened.devices[0].unsupported == {"processes"}
    assert opened.columns[Group.FAST] == ("utilization_ratio", "memory_usage_bytes")
    reading, = bench.reads()[0].readings[Group.FAST]
    assert reading.values == {"utilization_ratio": 0.5}
    assert child.status.state is State.OK


def test_devices_that_cannot_be_told_apart_are_left_out_and_the_others_are_read(bench: Bench) -> None:
    bench.until_state(bench.start("Twins"), State.OK)
    opened, = (answer for answer in bench.answers if isinstance(answer, m.Opened))
    assert [device.uuid for device in opened.devices] == ["two"]


def test_a_stopped_reader_closes_its_devices_and_ends(bench: Bench) -> None:
    child = bench.start("Good")
    bench.ask(child)
    pid = bench.holder()
    child.stop(time.monotonic())
    bench.until(child, lambda: child.over)
    assert (bench.folder / "closed").exists()
    bench.until(child, lambda: not alive(pid))


def test_a_reader_that_hangs_is_stuck_and_its_process_is_left_alone(bench: Bench) -> None:
    child = bench.start("Hanging")
    bench.ask(child)
    status = bench.until_state(child, State.STUCK)
    assert "no answer for 0.3 s while reading" in status.message
    assert status.reason == pb.REASON_STUCK
    assert alive(bench.holder())
    assert not child.free


def test_a_stuck_reader_that_comes_back_is_used_again_and_its_old_answer_is_dropped(bench: Bench) -> None:
    child = bench.start("Hanging")
    bench.ask(child)
    bench.until_state(child, State.STUCK)
    pid = bench.holder()
    (bench.folder / "let-go").touch()
    bench.until_state(child, State.OK)
    assert bench.reads() == []
    bench.ask(child)
    bench.until(child, lambda: len(bench.reads()) == 1)
    assert bench.holder() == pid


def test_a_reader_that_hangs_while_opening_is_stuck_too(bench: Bench) -> None:
    child = bench.start("HangingOpen", Limits(open=0.5))
    assert "while opening" in bench.until_state(child, State.STUCK).message


def test_stopping_does_not_wait_for_a_stuck_reader(bench: Bench) -> None:
    child = bench.start("Hanging")
    bench.ask(child)
    bench.until_state(child, State.STUCK)
    child.stop(time.monotonic())
    assert child.over
    assert alive(bench.holder())


def test_a_restarted_agent_starts_no_second_process_on_a_stuck_driver(bench: Bench) -> None:
    first = bench.start("Hanging")
    bench.ask(first)
    bench.until_state(first, State.STUCK)
    pid = bench.holder()
    first.close()  # as if the agent had been killed: nothing is said to its readers
    bench.zygote.close()

    second = bench.start("Hanging")
    status = bench.until_state(second, State.STUCK)
    assert f"process {pid} of an earlier agent holds the reader's lock" in status.message
    assert bench.holder() == pid

    (bench.folder / "let-go").touch()  # the driver lets go, and the old process sees that its agent is gone
    bench.until_state(second, State.OK)
    assert not alive(pid)
    assert bench.holder() != pid


def test_a_crashed_reader_is_named_by_its_signal_and_started_again(bench: Bench) -> None:
    child = bench.start("Crashing")
    bench.ask(child)
    status = bench.until_state(child, State.FAILED)
    assert status.message == "its process was ended by SIGSEGV"
    assert status.reason == pb.REASON_FAILED
    bench.until_state(child, State.OK)


def test_a_killed_reader_is_started_again(bench: Bench) -> None:
    child = bench.start("Good")
    bench.ask(child)
    pid = bench.holder()
    os.kill(pid, signal.SIGKILL)
    assert bench.until_state(child, State.FAILED).message == "its process was ended by SIGKILL"
    bench.until_state(child, State.OK)
    assert bench.holder() != pid


def test_a_driver_that_fails_as_a_whole_gets_a_new_process_with_a_new_library(bench: Bench) -> None:
    child = bench.start("Mismatched")
    bench.ask(child)
    pid = bench.holder()
    status = bench.until_state(child, State.FAILED)
    assert status.message == "driver and library differ; restart what still uses the old driver"
    assert status.reason == pb.REASON_DRIVER
    bench.until_state(child, State.OK)
    assert bench.holder() != pid


def test_an_answer_that_is_too_long_is_a_failure_and_not_waited_for_for_ever(bench: Bench) -> None:
    child = bench.start("Verbose", Limits(answer=PATIENCE))
    bench.ask(child)
    assert "too long" in bench.until_state(child, State.FAILED).message


def test_a_reader_whose_words_make_no_sense_is_replaced(bench: Bench) -> None:
    child = bench.start("Babbling")
    bench.ask(child)
    assert "makes no sense" in bench.until_state(child, State.FAILED).message
    bench.until_state(child, State.OK)
    bench.ask(child)
    bench.until(child, lambda: bool(bench.reads()))


def test_a_readers_mistake_is_a_failure_with_its_words(bench: Bench) -> None:
    child = bench.start("Mistaken")
    bench.ask(child)
    status = bench.until_state(child, State.FAILED)
    assert status.message == "KeyError: 'temperature'"
    assert status.reason == pb.REASON_FAILED


def test_a_reader_that_cannot_be_imported_is_a_failure_with_its_words(bench: Bench) -> None:
    child = bench.start("NoSuchReader")
    assert "has no attribute 'NoSuchReader'" in bench.until_state(child, State.FAILED).message


def test_nothing_of_a_vendor_is_absent_and_no_failure(bench: Bench) -> None:
    child = bench.start("Missing")
    assert bench.until_state(child, State.ABSENT).message == "no library of this vendor"


def test_what_a_library_prints_goes_nowhere_and_holds_nothing_up(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    child = bench.start("Noisy")
    for number in range(3):
        bench.ask(child)
        bench.until(child, lambda wanted=number + 1: len(bench.reads()) == wanted)  # type: ignore[misc]
    assert "hello" not in capfd.readouterr().out


def test_a_log_that_nobody_reads_holds_no_reader_up(bench: Bench) -> None:
    unread, full = os.pipe()
    stderr = os.dup(2)
    assert os.write(full, bytes(size := fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGE_SIZE")))) == size
    os.dup2(full, 2)
    try:
        child = bench.start("Complaining")
        bench.until(child, lambda: child.free)
    finally:
        os.dup2(stderr, 2)
        for descriptor in (stderr, full):
            os.close(descriptor)
    child.ask(FAST, time.monotonic())
    bench.until(child, lambda: bool(bench.reads()))
    os.close(unread)


def test_changed_devices_are_named_by_a_fresh_process(bench: Bench) -> None:
    child = bench.start("Replaced")
    bench.until(child, lambda: child.free)
    pid = bench.holder()
    child.ask((Group.FAST, Group.MEDIUM), time.monotonic())
    bench.until(child, lambda: sum(isinstance(answer, m.Opened) for answer in bench.answers) == 2)
    assert bench.holder() != pid
    assert child.status.state is State.OK


def test_a_lock_that_cannot_be_made_is_a_failure_that_says_what_to_do(bench: Bench) -> None:
    bench.folder /= "missing"
    child = bench.start("Good")
    message = bench.until_state(child, State.FAILED).message
    assert "reader-test.lock" in message
    assert "expected a directory this user may write to" in message
    bench.folder = bench.folder.parent


def test_an_agent_that_may_open_no_more_files_starts_its_readers_once_it_may(bench: Bench) -> None:
    child = bench.start("Good")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        bench.answers += child.tick(time.monotonic())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert child.status.state is State.FAILED
    assert "Too many open files" in child.status.message
    bench.until_state(child, State.OK)


def test_readers_outlive_their_zygote_and_a_new_one_is_started_when_needed(bench: Bench) -> None:
    child = bench.start("Good")
    bench.ask(child)
    bench.until(child, lambda: len(bench.reads()) == 1)
    zygote = psutil.Process(psutil.Process(bench.holder()).ppid())
    zygote.kill()
    bench.ask(child)
    bench.until(child, lambda: len(bench.reads()) == 2)
    os.kill(bench.holder(), signal.SIGKILL)
    assert bench.until_state(child, State.FAILED).message == "its process ended without a word"
    bench.until_state(child, State.OK)


def test_a_readers_process_has_neither_grpc_nor_threads(bench: Bench) -> None:
    child = bench.start("Good")
    bench.ask(child)
    bench.until(child, lambda: bool(bench.reads()))
    process = psutil.Process(bench.holder())
    assert not [mapped.path for mapped in process.memory_maps() if "grpc" in mapped.path]
    assert process.num_threads() == 1
    assert process.name() == "fallow-test"
