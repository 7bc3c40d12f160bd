"""The audit and the table themselves: what would let a loss through unseen."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.faults.audit import audit, given_out, of_report
from tests.faults.audit_fleet import audit_of_fleet
from tests.faults.table import Row, rendered


def test_a_reading_that_was_owed_and_is_not_stored_is_lost() -> None:
    found = audit(made=[1, 2, 3, 4], stored=[1, 2], owed=[1, 3])
    assert found.lost == {3}
    assert found.never_owed == {4}


def test_a_row_that_is_there_twice_is_doubled_and_one_that_nobody_made_is_invented() -> None:
    found = audit(made=[1, 2], stored=[1, 1, 7], owed=[])
    assert found.doubled == {1}
    assert found.invented == {7}
    assert (found.made, found.stored) == (2, 3)


def test_the_driver_s_note_is_read_by_device(tmp_path: Path) -> None:
    log = tmp_path / "energy"
    log.write_text("GPU-1 100\nGPU-2 200\nGPU-1 101\nGPU-1 1")  # it is being written
    assert given_out(log, "GPU-1") == [100, 101]


def test_a_report_carries_the_values_of_its_own_device_and_unknown_ones_are_none() -> None:
    layout = pb.Layout(blocks=[
        pb.Block(
            devices=["GPU-1", "GPU-2"], gauges=["power_watts"], counters=["pcie_replays_total", "energy_joules_total"]
        )
    ])
    report = pb.Report(readings=[pb.Readings(block=0, gauges=[1.0, 2.0], counters=[0.0, 5.001, 0.0, float("nan")])])
    assert of_report(layout, report, "GPU-1") == [5001]
    assert of_report(layout, report, "GPU-2") == []


def test_the_table_shows_a_dash_for_what_does_not_apply() -> None:
    killed = Row("kill -9 of the agent", 1000, made=12345, stored=12345, lost=0, doubled=0, recovery_s=1.25)
    assert rendered([killed]) == (
        "fault                 cycles    made  stored  lost  doubled  recovery\n"
        "kill -9 of the agent   1,000  12,345  12,345     0        0     1.2 s"
    )
    assert "-" in rendered([Row("half-open TCP", 3)])


def test_what_a_simulated_node_was_told_is_stored_and_is_not_is_lost_for_each_of_its_devices(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "catalogue.sqlite")) as catalogue:
        catalogue.execute("CREATE TABLE series (id, uuid)")
        catalogue.execute("CREATE TABLE file (name, kind, columns)")
    acked = tmp_path / "acked.jsonl"
    node = {"devices": ["a", "b"], "first": 1000.0, "interval_s": 0.5, "made": 4, "acked": [[1, 1], [3, 3]]}
    acked.write_text(json.dumps(node))
    found = audit_of_fleet(acked, tmp_path)
    assert found.made == 8
    assert found.lost == {device << 48 | time_ms for device in (0, 1) for time_ms in (1_000_000, 1_001_000)}
