"""Alerts where something goes wrong: a receiver that hangs, a collector killed again and again, rules that are not."""

import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.hook import Hook
from tests.e2e.programs import BIN, Collector, Sim, environment, until
from tests.e2e.telling import collector, connected, ids

NODES, KILLS = 24, 6


def test_a_receiver_that_hangs_keeps_no_other_one_waiting_and_the_collector_neither(tmp_path: Path) -> None:
    with Hook(hangs=True) as stuck, Hook() as ops, collector(tmp_path, stuck=stuck, ops=ops) as running:
        sim = Sim(tmp_path, running.grpc, "--nodes", "1", "--devices", "1")
        with sim:
            until(lambda: connected(running, 1), "the node is connected")
            sim.kill()
        until(lambda: stuck.begun, "the one that hangs is told")
        until(lambda: len(ops.accepted()) == 1, "the other one is told")
        with sim:
            until(lambda: len(ops.accepted()) == 2, "the other one is told of the end")
            assert [status for _, status, _ in ops.alerts()] == ["firing", "resolved"]
            assert stuck.told == []
            waiting = {one["name"]: one["waiting"] for one in running.fallow_json("alerts", "receivers")["items"]}
            assert waiting["stuck"] > 0 == waiting["ops"]
            tested = running.fallow_json("alerts", "test", "ops")
            assert (tested["delivered"], tested["status"]) == (True, 200)
        assert ops.accepted()[-1]["alerts"][0]["labels"]["alertname"] == "FallowTest"
        assert running.stop() == 0


def test_a_collector_killed_at_random_moments_tells_of_every_alert_and_a_repeat_is_known_by_its_id(
    tmp_path: Path,
) -> None:
    chance = random.Random(5)
    with Hook(answer_s=0.2) as ops, collector(tmp_path, ops=ops) as running:
        sim = Sim(tmp_path, running.grpc, "--nodes", str(NODES), "--devices", "1")
        with sim:
            until(lambda: connected(running, NODES), "all nodes are connected")
            assert ops.begun == 0
            sim.kill()
        kill_while_telling(running, ops, chance)
        until(lambda: list(ops.standing().values()) == NODES * ["firing"], "every lost node is told")
        with sim:
            kill_while_telling(running, ops, chance)  # nodes that need a while to come back are lost anew
            until(lambda: list(ops.standing().values()) == NODES * ["resolved"], "of each the end is told")
        identities = ids(ops)
        assert all(len(found) == 1 for found in identities.values()), identities


def kill_while_telling(running: Collector, hook: Hook, chance: random.Random) -> None:
    """kill -9, again and again, at moments around those at which the receiver is being told."""
    for _ in range(KILLS // 2):
        before = hook.begun
        until(lambda before=before: hook.begun > before, "the receiver is told something")  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.4))  # the moment is the test's
        running.kill()
        running.start()


@pytest.mark.parametrize(("rules", "expected"), [
    ('[[rule]]\nname = "A"\nexpr = "temperature > 85"\n', ":3: "),
    ('[[rule]]\nname = "A"\nexpr = "power_watts / 0 > 1"\n', ":3: "),
    ('[[rule]]\nname = "A"\nexpr = "power_watts > 1"\n\n[[rule]]\nname = "A"\nexpr = "power_watts > 2"\n', ":5: "),
    ('[[rule]]\nname = "A"\nexpr = "power_watts > 1"\nannotations.summary = "$nod is hot"\n', ":4: "),
    ('[[rule]\n', "rules.toml"),
])
def test_rules_that_cannot_be_are_explained_with_file_and_line_and_the_collector_does_not_start(
    tmp_path: Path, rules: str, expected: str
) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(rules)
    config = tmp_path / "collector.toml"
    config.write_text(
        f'grpc.listen = "127.0.0.1:0"\nhttp.listen = "127.0.0.1:0"\nstate.dir = "{tmp_path / "state"}"\n'
        f'alerts.rules = ["{path}"]\n'
    )
    for more in (["--check"], []):
        done = subprocess.run(
            [BIN / "fallow-collector", "--config", config, *more], env=environment(), capture_output=True, text=True,
            check=False, timeout=60,
        )
        assert done.returncode != 0, done.stdout
        assert f"{path}{expected if expected.startswith(':') else ''}" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_a_receiver_whose_url_is_none_is_explained_and_the_collector_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text('[[alerts.receivers]]\nname = "ops"\ntype = "webhook"\nurl = "hooks.example.com/alerts"\n')
    for more in (["--check"], []):
        done = subprocess.run(
            [BIN / "fallow-collector", "--config", config, *more], env=environment(), capture_output=True, text=True,
            check=False, timeout=60,
        )
        assert done.returncode != 0
        assert "receiver 'ops': its url is not one; expected such as https://hooks" in done.stdout + done.stderr
