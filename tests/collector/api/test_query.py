import pytest

from fallow_collector.api.query import (
    MAX_STEPS,
    PHASES,
    BadQuery,
    columns,
    duration,
    known,
    moment,
    no_others,
    span,
    words,
)

NOW = 1_772_366_400.0  # 2026-03-01T12:00:00Z


@pytest.mark.parametrize(("given", "expected"), [
    (None, ()),
    ([], ()),
    (["a"], ("a",)),
    (["a,b", "c"], ("a", "b", "c")),
    (["a, b ,,", "a"], ("a", "b")),
])
def test_words_may_be_repeated_or_a_comma_list(given: list[str] | None, expected: tuple[str, ...]) -> None:
    assert words(given) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("now", NOW),
    ("0", 0.0),
    ("1772366399.5", NOW - 0.5),
    ("-1h", NOW - 3600),
    ("-1.5m", NOW - 90),
    ("-2w", NOW - 14 * 86400),
    ("2026-03-01T12:00:00Z", NOW),
    ("2026-03-01T12:00:00.250Z", NOW + 0.25),
    ("2026-03-01T20:00:00+08:00", NOW),
])
def test_a_moment_is_unix_seconds_rfc_3339_now_or_a_time_ago(text: str, expected: float) -> None:
    assert moment("start", text, NOW) == expected


@pytest.mark.parametrize("text", [
    "", "yesterday", "1h", "-1", "-3600", "1e9", "nan", "inf", "1_000", "99999999999999", "-1y", "--1h", "+1h",
    "2026-03-01T12:00:00", "2026-03-01T20:00:00 08:00", "2026-13-01T00:00:00Z", "-99999w",
])
def test_a_moment_that_makes_no_sense_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(BadQuery, match=r"RFC 3339.*-1h"):
        moment("start", text, NOW)


@pytest.mark.parametrize(("text", "expected"), [
    ("0", 0.0), ("60", 60.0), ("1m", 60.0), ("1.5h", 5400.0), ("7d", 604800.0), ("0.5", 0.5),
])
def test_a_duration_is_seconds_or_a_number_with_a_unit(text: str, expected: float) -> None:
    assert duration("step", text) == expected


@pytest.mark.parametrize("text", ["", "-1m", "1 m", "m", "1M", "1e3", "nan", "1h30m"])
def test_a_duration_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BadQuery, match="expected seconds or a number with"):
        duration("step", text)


def test_a_span_must_run_forward() -> None:
    with pytest.raises(BadQuery, match="start=now is not before end=-1h"):
        span("now", "-1h", "0", NOW)


def test_a_span_of_too_many_steps_is_refused_and_says_which_step_would_do() -> None:
    assert span("-1d", "now", "1", NOW) == (NOW - 86400, NOW, 1.0)
    with pytest.raises(BadQuery, match=r"at least 6\.05 s"):
        span("-1w", "now", "1", NOW)
    with pytest.raises(BadQuery, match=f"at most {MAX_STEPS}"):
        span("-1w", "now", "0.001", NOW)


def test_an_unknown_word_is_refused_with_near_misses() -> None:
    with pytest.raises(BadQuery, match=r"phase=idel: there is no idel; did you mean idle\?"):
        known("phase", ("idle", "idel"), PHASES)
    with pytest.raises(BadQuery, match="expected one of leased, reserved"):
        known("phase", ("xyz",), PHASES)


def test_columns_are_metric_names_and_a_misspelt_one_finds_its_neighbours() -> None:
    assert columns(["power_watts,processes"]) == ("power_watts", "processes")
    with pytest.raises(BadQuery, match="did you mean power_watts"):
        columns(["powr"])
    with pytest.raises(BadQuery, match="columns is empty"):
        columns(None)


def test_a_parameter_that_nobody_reads_is_refused() -> None:
    no_others(["site"], ["site", "node"])
    with pytest.raises(BadQuery, match=r"no parameter sit; did you mean site\?"):
        no_others(["sit"], ["site", "node"])
    with pytest.raises(BadQuery, match="none is expected here"):
        no_others(["force"], [])
