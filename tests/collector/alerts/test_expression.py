"""The language of rules: what is let through, what is refused, and with which words."""

from collections.abc import Iterator

import duckdb
import pytest

from fallow_collector.alerts.engine import bounded, connect
from fallow_collector.alerts.expression import MOST_CHARACTERS, MOST_LITERAL, ExpressionError, parse


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    made = connect()
    yield made
    made.close()


@pytest.mark.parametrize(("text", "columns"), [
    ("temperature_celsius > 85", {"temperature_celsius"}),
    ("NOT ecc_enabled AND (phase = 'idle' OR phase <> 'leased')", {"ecc_enabled", "phase"}),
    ("power_watts / power_limit_watts BETWEEN 0.9 AND 1", {"power_watts", "power_limit_watts"}),
    ("phase NOT IN ('idle', 'leased')", {"phase"}),
    ("lower(model) LIKE 'nvidia%' AND vendor NOT ILIKE 'x_'", {"model", "vendor"}),
    ("coalesce(power_watts, 0) > abs(-5) % 3", {"power_watts"}),
    ("CASE WHEN class = 'general' THEN age_s > 5 ELSE age_s > 10 END", {"class", "age_s"}),
    ("CASE class WHEN 'general' THEN 5 END > age_s", {"class", "age_s"}),
    ("power_watts IS NULL OR reason_lost", {"power_watts", "reason_lost"}),
    ("starts_with(node, 'gpu') AND contains(uuid, 'A')", {"node", "uuid"}),
    ("power_watts > 1 -- and nothing else", {"power_watts"}),
    ("power_watts\n  > 1_000", {"power_watts"}),
])
def test_an_expression_names_its_columns(text: str, columns: set[str], connection: duckdb.DuckDBPyConnection) -> None:
    assert parse(text, "device", connection).columns == columns


@pytest.mark.parametrize(("text", "message"), [
    ("", "is empty, expected a condition, such as temperature_celsius > 85"),
    ("temprature_celsius > 85",
     "at character 1: table 'device' has no column 'temprature_celsius'; did you mean temperature_celsius?"),
    ("node = 'é' AND nothing", "at character 16: table 'device' has no column 'nothing'; docs/alerts.md lists them"),
    ("device.phase = 'idle'", "at character 1: table 'device' has no column 'device.phase'; docs/alerts.md lists them"),
    ("phase > 5", "at character 9: 5 is a number, expected text"),
    ("power_watts > '5'", "at character 15: '5' is text, expected a number"),
    ("ecc_enabled > 0",
     "at character 1: what is true or false has no order; expected = or <>, or the condition itself"),
    ("phase = 'idel'", "at character 9: phase is never 'idel'; did you mean idle?"),
    ("'Lost' <> freshness", "at character 1: freshness is never 'Lost'; did you mean lost?"),
    ("allocation NOT IN ('free', 'taken')",
     "at character 28: allocation is never 'taken'; expected one of free, reserved, leased, releasing, unknown"),
    ("CASE class WHEN 'cpu' THEN 5 END > age_s",
     "at character 17: class is never 'cpu'; expected one of intelligent, general, super"),
    ("true; drop table x",
     "is more than one condition; expected a single one, without a name, FROM, WHERE, ORDER BY or semicolon"),
    ("power_watts AND reason_lost", "at character 1: power_watts is a number, expected true or false"),
    ("phase IN ('idle', 1)", "at character 19: 1 is a number, expected text"),
    ("coalesce(power_watts, 'x') > 1", "at character 23: 'x' is text, expected a number"),
    ("power_watts + 1", "at character 13: gives a number, expected a condition that is true or false, such as "
                        "temperature_celsius > 85"),
    ("true", "names no column, so it says nothing of a row; expected a condition over the columns of 'device'"),
    ("power_watts / 0 > 1", "at character 15: divides by zero, which is never known"),
    ("power_watts / (3 - 3) > 1", "at character 18: divides by zero, which is never known"),
    ("power_watts % (1 / 0) > 1", "at character 20: divides by zero, which is never known"),
    ("power_watts = NULL", "at character 15: null is neither equal to anything nor different; expected x IS NULL"),
    ("power_watts > 1e999", "at character 15: '1e999' is neither a number, printable text, true nor false"),
    ("power_watts IS DISTINCT FROM 1", "at character 1: expected one of = <> < <= > >=, or IS NULL"),
    ("greatest(power_watts, 1) > 1",
     "at character 1: there is no function 'greatest' of 2 arguments in the language of rules"),
    ("lowr(model) = 'x'",
     "at character 1: there is no function 'lowr' of 1 arguments in the language of rules; did you mean lower?"),
    ("model LIKE node", "at character 12: a pattern must be written out, such as 'NVIDIA%'"),
    ("model LIKE '%%%%%%%%%'", "at character 12: a pattern with more than 8 times %, expected fewer"),
    ("power_watts >", "at character 13: syntax error at or near \">\""),
])
def test_a_bad_expression_is_explained(text: str, message: str, connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text, "device", connection)
    assert str(refused.value) == message


@pytest.mark.parametrize("text", [
    "power_watts > 1 AS x", "power_watts > 1, true", "power_watts > 1 FROM facts", "power_watts > 1 WHERE true",
    "power_watts > 1 ORDER BY 1", "power_watts > 1 LIMIT 1", "DISTINCT power_watts > 1",
    "power_watts > 1 UNION SELECT 1",
    "power_watts > 1; SELECT 1", "power_watts > 1; DROP TABLE facts", "power_watts > 1; COPY (SELECT 1) TO '/x'",
    "*", "COLUMNS('power.*') > 1", "(SELECT 1) > power_watts", "EXISTS (SELECT 1)", "power_watts IN (SELECT 1)",
    "power_watts > ?", "power_watts > $x", "power_watts > #1", "power_watts::INT > 1",
    "try_cast(power_watts AS INT) > 1",
    "sum(power_watts) > 1", "row_number() OVER () > power_watts", "list_filter([power_watts], x -> x > 1) = [1]",
    "read_text('/etc/passwd') = model", "getenv('HOME') = model", "main.lower(model) = 'x'", "current_user = model",
    "model ~ '(a+)+$'", "model SIMILAR TO 'x'", "model COLLATE nocase = 'x'", "model[1] = 'x'", "{'a': model} = model",
    "model || 'x' = 'x'", "repeat(model, 1000000) = model", "INTERVAL 1 DAY > power_watts", "random() > power_watts",
    "power_watts > 1) OR (true", "power_watts > 1 /*", "model = e'\\x01'", "power_watts > 1 USING SAMPLE 1",
    "sleep_ms(1000) > power_watts", "(power_watts, 1) = (1, 1)", "max(power_watts) FILTER (true) > 1", "lambda x: x",
])
def test_nothing_but_one_condition_of_the_language_is_let_through(
    text: str, connection: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(ExpressionError):
        parse(text, "device", connection)


@pytest.mark.parametrize(("text", "words"), [
    (f"power_watts > {'1' * MOST_CHARACTERS}", "characters long, expected at most 2,000"),
    (f"model = '{'x' * (MOST_LITERAL + 1)}'", "a literal of 257 characters, expected at most 256"),
    ("NOT " * 400 + "reason_lost", "Max expression depth"),
    ("(" * 900 + "reason_lost" + ")" * 900, ""),
])
def test_what_is_too_large_is_refused_or_does_no_harm(
    text: str, words: str, connection: duckdb.DuckDBPyConnection
) -> None:
    try:
        assert parse(text, "device", connection).columns
    except ExpressionError as error:
        assert words in str(error)  # noqa: PT017  # both may be
    else:
        assert not words


def test_quotes_and_braces_in_a_text_stay_in_it(connection: duckdb.DuckDBPyConnection) -> None:
    parsed = parse("model IN ('it''s {0}', 'b') AND node = '{'", "device", connection)
    found = connection.execute(f"SELECT {parsed.sql} FROM (SELECT 'it''s {{0}}' AS model, '{{' AS node)").fetchall()
    assert found == [(True,)]


def test_nothing_outside_is_reached_even_by_unchecked_sql(connection: duckdb.DuckDBPyConnection) -> None:
    for statement in ("SELECT * FROM read_text('/etc/hostname')", "SET enable_external_access = true", "LOAD httpfs"):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)


def test_a_query_that_does_not_end_is_ended() -> None:
    connection = connect()
    endless = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b"
    with pytest.raises(duckdb.InterruptException), bounded(connection, 0.2):
        connection.execute(endless).fetchall()
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    connection.close()
