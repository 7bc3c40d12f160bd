import pytest

from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.influx.writer import Rejected, Stored, TooLarge, WriteError, judge, retry_after_s
from fallow_proto.settings import SettingsError, load

NOW = 1_795_308_000.0  # Sun, 22 Nov 2026 00:40:00 GMT


@pytest.mark.parametrize(
    ("status", "answer"),
    [(204, Stored()), (400, Rejected("why")), (422, Rejected("why")), (413, TooLarge())],
)
def test_answers_that_are_about_the_body(status: int, answer: object) -> None:
    assert judge(status, {}, "why", "http://influx", NOW) == answer


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, r"store\.influx\.token_file"), (403, r"store\.influx\.token_file"),
        (404, r"store\.influx\.org, store\.influx\.bucket"),
        (200, "expected 204"), (202, "expected 204"), (301, "redirect to http://elsewhere/.*not followed"),
        (429, "too busy"), (503, "too busy"), (500, "answered 500: why"), (502, "answered 502"),
    ],
)
def test_all_others_are_errors_that_say_what_to_check(status: int, hint: str) -> None:
    with pytest.raises(WriteError, match=hint):
        judge(status, {"Location": "http://elsewhere/"}, "why", "http://influx", NOW)


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("7", 7), (" 120 ", 120), ("Sun, 22 Nov 2026 00:41:30 GMT", 90), ("Sun, 22 Nov 2026 00:00:00 GMT", 0),
        ("99999999999", 600), ("-5", 0), ("soon", 0), ("", 0), ("1e9", 0), ("nan", 0), ("٣", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_ten_minutes(text: str, pause_s: float) -> None:
    assert retry_after_s({"Retry-After": text}, NOW) == pause_s


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("URL", "influx:8086", "expected http://host:port"), ("URL", "http://", "expected http://host:port"),
        ("URL", "http://ann:s3cret@influx:8086", "url holds a query, or a user or password"),
        ("URL", "http://influx:8086/?token=s3cret", "url holds a query, or a user or password"),
        ("SETTLE_S", "-1", "settle_s"), ("SETTLE_S", "nan", "settle_s"), ("QUERY", "sql", "query"),
    ],
)
def test_a_bad_setting_names_its_key(key: str, value: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=hint) as refused:
        load(InfluxSettings, None, "T", {f"T_{key}": value})
    assert "s3cret" not in str(refused.value)
