"""Reports of simulated nodes: what is on the wire is what the load says."""

import numpy as np
import pytest

from fallow_proto.codec import layout_hash
from fallow_proto.metrics import BY_NAME, Kind
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.cohort import KEPT, Cohort
from fallow_sim.identity import Plan
from fallow_sim.load import GAUGES
from fallow_sim.profiles import PROFILES, assign
from fallow_sim.rhythm import SLOTS, cohorts, of_fleet

START = 1_790_000_000.0


def cohort(vendor: str = "nvidia", devices: int = 8) -> Cohort:
    return Cohort(Plan(PROFILES[vendor], devices, "here", 7, 1.0), [3, 53], START)


def reports(cohort: Cohort, position: int, lo: int, hi: int) -> list[pb.Report]:
    batch = pb.Reports()
    cohort.fill(batch, position, lo, hi)
    return list(pb.Reports.FromString(batch.SerializeToString()).reports)


@pytest.mark.parametrize("vendor", PROFILES)
def test_a_report_holds_what_its_layout_says(vendor: str) -> None:
    one = cohort(vendor)
    layout = one.nodes[1].source.layout
    assert layout.hash == layout_hash(layout.blocks)
    report = reports(one, 1, 1, 1)[0]
    assert len(report.readings) == len(layout.blocks)
    for readings in report.readings:
        block = layout.blocks[readings.block]
        assert len(readings.gauges) == 8 * len(block.gauges)
        assert len(readings.counters) == 8 * len(block.counters)
        assert {BY_NAME[name].kind for name in block.gauges} <= {Kind.GAUGE}
        assert {BY_NAME[name].kind for name in block.counters} <= {Kind.COUNTER}


def test_numbers_arrive_row_by_row_as_the_load_made_them() -> None:
    one = cohort()
    report = reports(one, 1, 5, 5)[0]
    said = one.load.at(np.arange(8, 16), np.full(8, START + 4.0))
    assert np.array_equal(np.array(report.readings[0].gauges, dtype=np.float32).reshape(8, -1), said.gauges)
    assert np.array_equal(np.array(report.readings[0].counters).reshape(8, -1), said.counters[:, :-1])
    assert report.time_ms == 1000 * (START + 4)
    assert (report.seq, report.previous) == (5, 4)


def test_a_report_made_again_is_the_one_that_was_sent_live() -> None:
    one = cohort()
    live = {}
    for seq in range(1, 3 * KEPT):
        one.advance(seq)
        live[seq] = reports(one, 0, seq, seq)[0]
    again = reports(one, 0, 1, 3 * KEPT - 1)
    assert again == list(live.values())
    assert one.nodes[0].newest == 3 * KEPT - 1


def test_the_power_limit_comes_first_and_then_every_ten_seconds_not_with_all_nodes_at_once() -> None:
    seqs = [report.seq for report in reports(cohort(), 0, 1, 35) if len(report.readings) == 2]
    assert seqs == [1, 7, 17, 27]  # node 3


def test_a_metric_is_either_sent_or_declared_as_not_existing() -> None:
    for vendor, profile in PROFILES.items():
        node = cohort(vendor).nodes[0]
        sent = {name for block in node.source.layout.blocks for name in (*block.gauges, *block.counters)}
        assert sent.isdisjoint(profile.unsupported)
        assert {*GAUGES} <= sent | profile.unsupported
        assert {*node.source.hello().devices[0].unsupported} == profile.unsupported <= BY_NAME.keys()


def test_devices_keep_their_names_over_runs_and_runs_have_epochs_of_their_own() -> None:
    one, other = cohort().nodes[0].source, cohort().nodes[0].source
    assert [d.uuid for d in one.hello().devices] == [d.uuid for d in other.hello().devices]
    assert one.hello().epoch != other.hello().epoch
    assert len({d.pci_bus_id for d in one.hello().devices}) == 8


def test_nodes_are_spread_over_the_interval_and_each_reports_once_in_it() -> None:
    fleet = cohorts(assign({"nvidia": 2, "metax": 1}, 120), 1, site="s", seed=1, interval_s=2.0, start=START)
    assert sum(len(cohort.nodes) for cohort in fleet) == 120
    beats = of_fleet(fleet, START)
    first = [next(beats) for _ in fleet]
    assert sum(len(beat.nodes) for beat in first) == 120
    assert [beat.after_s for beat in first] == sorted(beat.after_s for beat in first)
    assert len({round(beat.after_s, 3) for beat in first}) == SLOTS
    assert max(beat.after_s for beat in first) < 2.0
    assert next(beats).after_s == pytest.approx(2.0)


def test_vendors_take_turns_by_weight() -> None:
    vendors = [profile.vendor for profile in assign({"nvidia": 3, "ascend": 1}, 8)]
    assert vendors == ["nvidia", "nvidia", "nvidia", "ascend"] * 2


def test_a_node_stands_in_a_rack_of_eight_and_its_devices_share_their_links() -> None:
    fleet = cohorts(assign({"nvidia": 1}, 20), 2, site="s", seed=1, interval_s=1.0, start=START)
    hellos = sorted((node.source.hello() for each in fleet for node in each.nodes), key=lambda hello: hello.node)
    assert [hello.rack for hello in hellos] == ["rack-0000"] * 8 + ["rack-0001"] * 8 + ["rack-0002"] * 4
    assert {device.link_domain for device in hellos[3].devices} == {"sim-00003-links"}


def test_the_cpu_time_of_processes_comes_with_the_medium_group() -> None:
    one = cohort("ascend")  # which tells no power limit
    assert list(one.nodes[0].source.layout.blocks[1].counters) == ["processes_cpu_seconds_total"]
    told = [report for report in reports(one, 0, 1, 7) if len(report.readings) == 2]
    assert [report.seq for report in told] == [1, 7]
    said = one.load.at(np.arange(8), np.full(8, START + 6.0))
    assert list(told[1].readings[1].counters) == said.counters[:, -1].tolist()
    assert len(cohort("mthreads").nodes[0].source.layout.blocks) == 1, "it tells neither"
