"""Thresholds of one model: what the operator says of it, else what the catalogue knows, else what holds for all."""

from math import isnan

import numpy as np
import pytest

from fallow_collector.idle.engine import Engine
from fallow_collector.idle.explain import Facts, explain
from fallow_collector.idle.rule import Rule
from fallow_collector.idle.settings import IdleSettings, ModelSettings, Thresholds
from fallow_collector.idle.state import FloorSource
from fallow_proto.metrics import NAMES
from fallow_proto.states import Freshness, Health
from tests.collector.watching import BUSY, GIB, HOST, IDLE, NAN, Watched, device

T4 = {**IDLE, "power_watts": 20.0, "power_limit_watts": 70.0, "memory_limit_bytes": 15 * GIB}


def of(model: str, **thresholds: float) -> IdleSettings:
    return IdleSettings(models=[ModelSettings(model=model, **thresholds)])


def rules(watched: Watched, row: int) -> dict[str, Rule]:
    engine, fleet = watched.engine, watched.fleet
    values = {name: float(fleet.current()[row, i]) for i, name in enumerate(NAMES)}
    power, memory = engine.idle_range(row)
    facts = Facts(
        engine.state[row], values, int(watched.assess().reasons[row]), Freshness.LIVE, 0.0, watched.interval_s,
        int(fleet.last_ms[row]), False, frozenset(), engine.overridden(row), power, memory, Health.OK,
    )
    return {rule.name: rule for rule in explain(engine.thresholds(row), facts)}


def test_a_model_may_have_its_own_window_and_the_others_keep_theirs() -> None:
    watched = Watched(device("g0"), device("g1", model="Tesla T4"), settings=of("Tesla T4", confirm_s=20.0))
    watched.stays(30, IDLE, T4)
    assert (watched.phase(0), watched.phase(1)) == ("verifying", "idle")
    watched.stays(40, IDLE, T4)
    assert (watched.phase(0), watched.phase(1)) == ("idle", "idle")


def test_a_model_may_have_its_own_cut_of_utilization() -> None:
    humming = {**IDLE, "utilization_ratio": 0.07}
    watched = Watched(
        device("g0"), device("g1", model="NVIDIA L40"),
        settings=of("NVIDIA L40", utilization_off_ratio=0.08, utilization_on_ratio=0.12),
    )
    watched.stays(70, humming, humming)
    assert (watched.phase(0), watched.phase(1)) == ("unknown", "idle")
    assert watched.reasons(0) == ["undecided"]


def test_the_name_of_a_model_is_the_whole_name() -> None:
    watched = Watched(device("g0", model="Tesla T4G"), settings=of("Tesla T4", confirm_s=20.0))
    watched.stays(30, {**T4, "power_watts": 17.0})
    assert watched.phase() == "verifying"


def test_the_cpus_of_a_host_have_a_model_too() -> None:
    busy = {**HOST, "cpu_busy_cores": 5.0}
    watched = Watched(
        device("h0", device_class="general", vendor="intel", model="Xeon"),
        device("h1", device_class="general", vendor="intel", model="Phi"), settings=of("Phi", host_busy_cores=6.0),
    )
    watched.stays(70, busy, busy)
    assert (watched.phase(0), watched.phase(1)) == ("unmanaged", "idle")


def test_a_model_may_be_stale_sooner_than_others() -> None:
    watched = Watched(device("g0"), device("g1", model="Tesla T4"), settings=of("Tesla T4", stale_s=3.5))
    watched.stays(70, IDLE, T4)
    watched.misses(4)
    assert (watched.phase(0), watched.phase(1)) == ("idle", "unknown")
    assert watched.reasons(1) == ["stale"]


def test_the_catalogue_knows_what_a_model_draws_when_idle() -> None:
    """90 to 100 W on an A100 are clocks up and a context present; 25 % of its limit would let them pass for idle."""
    hump = {**IDLE, "power_watts": 95.0}
    watched = Watched(device("g0"), device("g1", model="NVIDIA A100-SXM4-80GB (engineering sample)"))
    watched.stays(70, hump, hump)
    assert (watched.phase(0), watched.phase(1)) == ("unknown", "idle")
    assert watched.engine.idle_power_max_watts(0, 400.0) == 82.5
    assert watched.engine.idle_power_max_watts(1, 400.0) == 100.0


def test_an_idle_board_that_draws_more_than_a_quarter_of_its_limit_is_idle_where_the_catalogue_knows_it() -> None:
    mi308x = {**IDLE, "power_watts": 166.0, "power_limit_watts": 650.0, "memory_usage_bytes": 0.28 * GIB}
    watched = Watched(
        device("g0", vendor="amd", model="AMD Instinct MI308X OAM"), device("g1", vendor="amd", model="AMD Instinct?")
    )
    watched.stays(70, mi308x, mi308x)
    assert (watched.phase(0), watched.phase(1)) == ("idle", "unknown")


def test_power_speaks_of_a_chip_without_a_power_limit_where_the_catalogue_knows_its_idle_range() -> None:
    npu = {
        "utilization_ratio": 0.0, "power_watts": 97.0, "memory_usage_bytes": 3.35 * GIB, "memory_limit_bytes": 64 * GIB,
        "processes": 0.0,
    }
    watched = Watched(
        device("n0", vendor="ascend", model="910B2"), device("n1", vendor="ascend", model="910B9"),
        settings=IdleSettings(floor_clean_s=60.0),
    )
    watched.stays(130, npu, npu)
    assert not watched.is_low(0)
    assert watched.engine.state["floor_source"][0] == FloorSource.LEARNED
    assert watched.is_low(1)


def test_memory_beyond_what_the_catalogue_says_of_an_idle_board_is_never_taken_for_its_base() -> None:
    leaked = {**IDLE, "power_watts": 70.0, "power_limit_watts": 700.0, "memory_usage_bytes": 3 * GIB}
    watched = Watched(device("g0", model="NVIDIA H100 80GB HBM3"), device("g1", model="NVIDIA H100 prototype"))
    watched.stays(70, leaked, leaked)
    assert (watched.phase(0), watched.reasons(0)) == ("unknown", ["baseline_unaccepted"])
    assert watched.phase(1) == "idle"  # below 6 % of its memory


def test_what_the_operator_says_of_a_model_wins_over_the_catalogue() -> None:
    hump = {**IDLE, "power_watts": 95.0}
    watched = Watched(settings=of("NVIDIA A100-SXM4-80GB", idle_power_max_ratio=0.24))
    watched.stays(70, hump)
    assert watched.phase() == "idle"
    assert watched.engine.idle_power_max_watts(0, 400.0) == 96.0
    assert isnan(watched.engine.idle_range(0)[0])


def test_a_partition_is_not_held_to_the_whole_boards_idle_range() -> None:
    watched = Watched(device("g0"), device("m0", parent="g0", partition_profile="1g.10gb"))
    assert watched.engine.idle_range(0)[0] == 82.5
    assert all(map(isnan, watched.engine.idle_range(1)))


def test_explain_shows_the_threshold_in_force_and_where_it_is_from() -> None:
    watched = Watched(
        device("g0"), device("g1", model="Tesla T4"), device("g2", model="NVIDIA L40"),
        settings=of("Tesla T4", utilization_off_ratio=0.08, confirm_s=20.0, idle_power_max_ratio=0.3),
    )
    watched.stays(5, IDLE, T4, IDLE)
    a100, t4, l40 = rules(watched, 0), rules(watched, 1), rules(watched, 2)
    assert a100["utilization"].threshold == "at most 5 % ([idle] utilization_off_ratio)"
    assert t4["utilization"].threshold == "at most 8 % ([[idle.models]] utilization_off_ratio)"
    assert a100["power"].threshold == "at most 82.5 W (the model's idle range, the catalogue)"
    assert t4["power"].threshold == "at most 21 W (the model's idle range, [[idle.models]] idle_power_max_ratio)"
    assert l40["power"].threshold == "at most 100 W (the model's idle range, [idle] idle_power_max_ratio)"
    assert t4["window"].threshold == "20 s and 10 readings ([[idle.models]] confirm_s)"


def test_explain_knows_the_shorter_window_after_a_release() -> None:
    watched = Watched()
    watched.stays(70, IDLE)
    watched.engine.restart(np.array([0]), short=True)
    watched.stays(12, IDLE)
    assert watched.phase() == "idle"
    window = rules(watched, 0)["window"]
    assert (window.holds, window.threshold) == (True, "10 s and 10 readings ([idle] confirm_after_release_s)")


def test_a_floor_that_was_learned_in_another_idle_range_is_learned_anew() -> None:
    watched = Watched(settings=IdleSettings(floor_clean_s=60.0))
    watched.stays(130, IDLE)
    learned = watched.engine.learned(0, "g0", "key")
    assert learned.floor_source == FloorSource.LEARNED
    same, other = Watched(), Watched(settings=of("NVIDIA A100-SXM4-80GB", idle_power_max_ratio=0.3))
    same.engine.recall(0, learned)
    assert same.engine.state["floor_watts"][0] == learned.floor_watts
    other.engine.recall(0, learned)
    assert other.engine.state["floor_source"][0] == FloorSource.NONE
    assert other.engine.state["clean_s"][0] == 0
    assert other.engine.state["base_bytes"][0] == learned.base_bytes


def test_a_floor_that_was_accepted_holds_in_any_idle_range() -> None:
    watched = Watched()
    watched.stays(5, IDLE)
    watched.engine.accept(0, 61.0, NAN)
    other = Watched(settings=of("NVIDIA A100-SXM4-80GB", idle_power_max_ratio=0.3))
    other.engine.recall(0, watched.engine.learned(0, "g0", "key"))
    assert other.engine.state["floor_watts"][0] == 61.0


@pytest.mark.parametrize("model", ["NVIDIA A100-SXM4-80GB", "Tesla T4"])
def test_devices_of_many_models_are_judged_like_each_alone(model: str) -> None:
    settings = of("Tesla T4", confirm_s=20.0, conflict_s=5.0)
    readings = [IDLE] * 25 + [BUSY] * 4 + [IDLE] * 40
    alone = Watched(device("x", model=model), settings=settings)
    among = Watched(
        device("a", model="Tesla T4"), device("x", model=model), device("b"), device("c", model="Tesla T4"),
        settings=settings,
    )
    for reading in readings:
        alone.stays(1, reading)
        among.stays(1, IDLE, reading, BUSY, IDLE)
        assert alone.engine.state[0].tobytes() == among.engine.state[1].tobytes()


def test_without_thresholds_of_models_one_number_is_in_force_for_all() -> None:
    engine = Engine(IdleSettings())
    engine.grow(3)
    assert engine.in_force("reclaim_idle_s", slice(3)) == 1800.0


def test_every_threshold_may_be_set_for_a_model() -> None:
    for name in Thresholds.__struct_fields__:
        value = getattr(IdleSettings(), name)
        assert getattr(of("T4", **{name: value}).by_model()["T4"], name) == value


@pytest.mark.parametrize(("entries", "complaint"), [
    ([{"model": "T4", "utilization_off_ratio": 0.5}], "'T4': utilization_off_ratio = 0.5 must be below utilization_on"),
    ([{"model": "T4", "confirm_s": 200.0}], "confirm_s = 200.0 of 'T4' must be below evidence_s = 120.0"),
    ([{"model": "T4", "stale_s": -1.0}], "'T4': stale_s = -1.0, expected a number above 0"),
    ([{"model": "T4", "stale_s": 2.0}, {"model": "T4", "lost_s": 9.0}], "'T4' stands there 2 times, expected once"),
    ([{"confirm_s": 20.0}], "needs a model, as the driver prints it"),
    ([{"model": "T4"}], "'T4' sets no threshold"),
])
def test_thresholds_of_a_model_are_checked_like_those_for_all(
    entries: list[dict[str, object]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        IdleSettings(models=[ModelSettings(**entry) for entry in entries])
