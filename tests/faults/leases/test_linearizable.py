"""64 holders of leases while the collector is killed and suspended, its wall clock stepped, connections reset, and
holders suspended for longer than their TTL: for each device there is an order of all calls that explains each answer.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

from fallow_client.leasing import clock
from fallow_proto.dispatch import Fault
from fallow_proto.failpoint import Point
from tests.e2e.programs import DEADLINE_S, Collector, Sim, environment, until
from tests.faults.leases import clients
from tests.faults.leases.history import UNKNOWN, read
from tests.faults.leases.judge import Away, faults_of, latest_s
from tests.faults.programs import start_to_be_killed, wait_for_its_kill
from tests.faults.proxy import GOOD, Cut, Fate, Proxy, Way
from tests.faults.table import Row, cycles, record

QUICK = ("idle.confirm_s = 1.5", "idle.confirm_readings = 3", "idle.confirm_after_release_s = 0.5")
PROCESSES, EACH = 4, 16
CLOCK_S = 10.0  # README: by so much a crash prolongs every lease at most
PAUSE_S = 6.0  # longer than a TTL, and than what the collector takes for a moment's delay
GIVEN = 20
PATIENCE_S = 300.0  # on a busy machine the faults leave time for few leases
STEPS_S = (3600.0, -3600.0, 0.0)
ROOT = Path(__file__).parents[3]


class Faults:
    """What is done to a collector and its clients, and what it did: counts by name, and when the collector was away."""

    def __init__(self, collector: Collector, holders: list[subprocess.Popen[bytes]], step: Path) -> None:
        self.done: Counter[str] = Counter()
        self.away: list[Away] = []
        self._collector = collector
        self._holders = holders
        self._step = step
        self._chance = Random(98)

    def cycle(self) -> None:
        self._kill()
        time.sleep(self._chance.uniform(1.0, 3.0))
        self._suspend_holders()
        self._step_clock()
        self._kill_in_commit()
        time.sleep(self._chance.uniform(1.0, 3.0))
        self._suspend_collector()
        time.sleep(self._chance.uniform(1.0, 3.0))

    def _kill(self) -> None:
        since = clock()
        self._collector.kill()
        self._collector.start()
        self._back("kill", since)

    def _kill_in_commit(self) -> None:
        since = clock()
        self._collector.kill()
        point = self._chance.choice((Point.LEASES_BEFORE_COMMIT, Point.LEASES_AFTER_COMMIT))
        start_to_be_killed(self._collector, point, self._chance.randrange(2, 20))
        wait_for_its_kill(self._collector)
        self._collector.start()
        self._back(f"kill at {point}", since, crashes=2)

    def _suspend_collector(self) -> None:
        since = clock()
        os.kill(self._collector.pid, SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(self._collector.pid, SIGCONT)
        self._back("collector suspended", since, crashes=0)

    def _suspend_holders(self) -> None:
        holder = self._chance.choice(self._holders)
        os.kill(holder.pid, SIGSTOP)
        time.sleep(clients.TTL_S + 1.0)
        os.kill(holder.pid, SIGCONT)
        self.done["holders suspended"] += 1

    def _step_clock(self) -> None:
        self._step.write_text(str(STEPS_S[self.done["clock stepped"] % len(STEPS_S)]), encoding="utf-8")
        self.done["clock stepped"] += 1

    def _back(self, what: str, since: float, crashes: int = 1) -> None:
        self.away.append(Away(since, clock(), crashes * CLOCK_S))
        self.done[what] += 1


def fate_of(number: int) -> Fate:
    """Every third connection is reset within an answer: what was asked may have been done."""
    return Fate(down=Way(cut_at=Random(number).randrange(1, 6000), cut=Cut.RESET)) if number % 3 == 0 else GOOD


def lines_of(logs: list[Path]) -> int:
    return sum(log.read_bytes().count(b"\n") for log in logs if log.exists())


def given_in(logs: list[Path]) -> int:
    """How many leases their holders know of."""
    return len({op.token for op in read(logs) if op.token})


def test_every_history_of_a_device_is_linearizable(tmp_path: Path) -> None:
    enough = cycles(short=1_500, long=100_000)  # calls
    logs = [tmp_path / f"holders-{number}.jsonl" for number in range(PROCESSES)]
    step = tmp_path / "step"
    step.write_text("0", encoding="utf-8")
    with ExitStack() as running:
        proxy = running.enter_context(Proxy(fate_of))
        collector = Collector(tmp_path, *QUICK)
        collector.under = (sys.executable, str(Path(__file__).with_name("stepped.py")), str(step))
        running.enter_context(collector)
        proxy.lead_to(collector.url.removeprefix("http://"))
        running.enter_context(
            Sim(tmp_path, collector.grpc, "--nodes", "16", "--devices", "8", "--interval", "0.5", "--seed", "3")
        )
        until(lambda: sum(device.phase == "idle" for device in collector.devices().values()) >= 16, "devices are idle")
        devices = list(collector.devices())
        holders = [
            running.enter_context(subprocess.Popen(
                [sys.executable, "-m", clients.__name__, f"http://{proxy.address}", f"holder-{number}", str(EACH),
                 str(log), *devices],
                env=environment(PYTHONPATH=str(ROOT)), cwd=ROOT, stdin=subprocess.DEVNULL,
            ))
            for number, log in enumerate(logs)
        ]
        try:
            until(lambda: all(map(Path.exists, logs)), "holders have begun")
            faults = Faults(collector, holders, step)
            faults.cycle()
            patience = time.monotonic() + PATIENCE_S
            while lines_of(logs) < enough or (given_in(logs) <= GIVEN and time.monotonic() < patience):
                faults.cycle()
            for holder in holders:
                holder.terminate()
            assert [holder.wait(DEADLINE_S) for holder in holders] == [0] * PROCESSES
        finally:
            for holder in holders:
                holder.kill()
    ops = read(logs)
    resets = len(proxy.cuts)
    told = Counter(f"{op.ask} {op.code or 'done'}" for op in ops)
    print(f"{len(ops)} calls, {resets} resets, {dict(faults.done)}; {dict(told.most_common())}")
    found = faults_of(ops, devices)
    late_s = latest_s(ops, faults.away) - starved_s(collector, faults)
    given = len({op.token for op in ops if op.token})
    doubled = sum("was owned twice" in each for each in found)
    record(Row(
        "leases under kills, pauses, resets, clock steps", sum(faults.done.values()) + resets, made=len(ops),
        lost=len(found) - doubled, doubled=doubled,
    ))
    assert found == []
    assert late_s < 1.0
    assert given > GIVEN, "hardly anything was leased"
    assert resets, "no connection was reset"
    assert any(op.code == UNKNOWN for op in ops), "no call remained without an answer"
    assert any(op.code == Fault.LEASE_ENDED for op in ops), "nobody was too late"


def starved_s(collector: Collector, faults: Faults) -> float:
    """For how long the collector says that it did not run, apart from when it was suspended: a busy machine's doing."""
    said = re.findall(r"did not run seconds=([0-9.]+)", collector.log.read_text(encoding="utf-8"))
    suspended = sum(away.until - away.since for away in faults.away if not away.more_s)
    return max(0.0, sum(map(float, said)) - suspended)
