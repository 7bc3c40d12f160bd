"""Finding the bad lines, against the three ways in which servers treat the others."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow_collector.stores.influx.bodies import Body
from fallow_collector.stores.influx.search import Findings, confirm, put
from fallow_collector.stores.influx.writer import Answer, Rejected, Stored, TooLarge
from fallow_collector.stores.store import StoreError

Server = Callable[[set[bytes]], Callable[[bytes], Answer]]


def all_or_nothing(stored: set[bytes]) -> Callable[[bytes], Answer]:
    """VictoriaMetrics from 1.112 on."""

    def post(data: bytes) -> Answer:
        lines = data.splitlines()
        if any(line.startswith(b"bad") for line in lines):
            return Rejected("cannot parse influx line")
        stored.update(lines)
        return Stored()

    return post


def the_rest_is_stored(stored: set[bytes]) -> Callable[[bytes], Answer]:
    """InfluxDB, for lines that it cannot parse."""

    def post(data: bytes) -> Answer:
        lines = data.splitlines()
        stored.update(line for line in lines if not line.startswith(b"bad"))
        bad = any(line.startswith(b"bad") for line in lines)
        return Rejected("partial write: unable to parse 'bad' dropped=0") if bad else Stored()

    return post


def the_dropped_are_counted(stored: set[bytes]) -> Callable[[bytes], Answer]:
    """InfluxDB, for points that it can parse and will not have."""

    def post(data: bytes) -> Answer:
        lines = data.splitlines()
        good = {line for line in lines if not line.startswith(b"bad")}
        stored.update(good)
        dropped = len(lines) - len(good)
        return Rejected(f"partial write: points beyond retention policy dropped={dropped}") if dropped else Stored()

    return post


def body_of(lines: list[bytes]) -> Body:
    return Body(b"".join(line + b"\n" for line in lines), np.cumsum([len(line) + 1 for line in lines], dtype=np.int64))


@pytest.mark.parametrize("server", [all_or_nothing, the_rest_is_stored, the_dropped_are_counted])
@given(marks=st.lists(st.booleans(), min_size=1, max_size=60))
def test_the_bad_lines_are_set_aside_and_all_others_stored(server: Server, marks: list[bool]) -> None:
    lines = [b"%s-%d" % (b"good" if good else b"bad", number) for number, good in enumerate(marks)]
    stored: set[bytes] = set()
    findings = Findings()
    put(body_of(lines), server(stored), findings)
    assert stored == {line for line in lines if line.startswith(b"good")}
    rejected = [line for body, _ in findings.rejected for line in body.data.splitlines()]
    assert sorted(rejected) == sorted(line for line in lines if line.startswith(b"bad"))


def test_when_all_are_dropped_and_the_server_says_so_one_post_is_enough() -> None:
    findings = Findings()
    put(body_of([b"bad"] * 8000), the_dropped_are_counted(set()), findings)
    assert findings.posts == 1
    assert [(body.lines, why[-12:]) for body, why in findings.rejected] == [(8000, "dropped=8000")]


def test_a_search_ends_after_five_hundred_posts_and_loses_no_line_silently() -> None:
    findings = Findings()
    stored: set[bytes] = set()
    lines = [b"bad-%d" % number if number % 2 else b"good-%d" % number for number in range(8000)]
    put(body_of(lines), all_or_nothing(stored), findings)
    assert findings.posts < 1100
    assert len(stored) + sum(body.lines for body, _ in findings.rejected) == 8000


def test_a_body_that_is_too_large_is_halved_until_it_passes() -> None:
    findings = Findings()
    put(body_of([b"x" * 99] * 64), lambda data: Stored() if len(data) <= 1000 else TooLarge(), findings)
    assert (findings.stored_lines, findings.smallest_too_large, findings.rejected) == (64, 1600, [])


def test_a_server_that_rejects_every_line_in_words_about_something_else_has_refused_no_line() -> None:
    findings = Findings()
    put(body_of([b"a", b"b"]), lambda _: Rejected("unsupported path requested"), findings)
    with pytest.raises(StoreError, match=r"rejects every row: unsupported path.*store\.influx\.url"):
        confirm(findings, "http://victoria:8428/x")


def test_one_line_stored_proves_that_the_request_was_right() -> None:
    findings = Findings()
    put(body_of([b"good", b"bad"]), all_or_nothing(set()), findings)
    confirm(findings, "http://victoria:8428")
