"""What a request needs of a single device."""

import numpy as np

from fallow_collector.fit.fit import fit
from fallow_proto.dispatch import Request
from tests.collector.fit.fleets import NAN, Built, Facts


def test_boards_of_one_name_are_told_apart_by_their_power_limit() -> None:
    """The C500 on PCIe has 240 TFLOP/s, the one on OAM 280."""
    built = Built([
        Facts(f"m{watts:.0f}", vendor="metax", model="MXC500", power_limit_watts=watts) for watts in (350.0, 450.0, NAN)
    ])
    answer = fit(built.offer, Request(count=1, peak_flops=2.5e14))
    assert built.uuids(answer.chosen) == ["m450"]
    assert [(short.reason, short.devices) for short in answer.short] == [
        ("peak_flops_unknown", 1), ("peak_flops_short", 1),
    ]
    more = fit(built.offer, Request(count=2, peak_flops=2.5e14)).nearest
    assert ("peak_flops", "240000000000000", 2) in [(miss.relax, miss.fits_at, miss.then) for miss in more]


def test_the_peak_of_a_partition_is_not_known_whatever_its_whole_can_do() -> None:
    built = Built([Facts("p0", profile="1g.10gb"), Facts("w0")])
    asked = Request(count=1, partition_profile="1g.10gb", peak_flops=1e12)
    answer = fit(built.offer, asked)
    assert not len(answer.chosen)
    assert "peak_flops_unknown" in [short.reason for short in answer.short]
    assert built.uuids(fit(built.offer, Request(count=1, peak_flops=1e12)).chosen) == ["w0"]
    assert np.isnan(built.offer.measures.peak_flops("fp16")).tolist() == [True, False]
