"""Log lines are one line each, and repeat themselves seldom."""

import logging

from fallow_agent.logs import REPEAT_S, Repeats, line


def test_a_line_is_key_and_value_and_quoted_where_needed() -> None:
    assert line("uplink lost", node="n1", reason='said "no"\nand left', empty="") == (
        'uplink lost node=n1 reason="said \\"no\\"\\nand left" empty=""'
    )


def test_the_same_line_passes_once_in_five_minutes_and_then_says_how_often_it_was_held_back() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)
    passed = []
    for second in range(0, 700, 10):
        now = float(second)
        record = logging.LogRecord("x", logging.INFO, "", 0, "uplink lost %s", ("refused",), None)
        if repeats.filter(record):
            passed.append((second, record.getMessage()))
    assert REPEAT_S == 300.0
    assert passed == [
        (0, "uplink lost refused"), (300, "uplink lost refused repeated=29"), (600, "uplink lost refused repeated=29")
    ]


def test_other_lines_pass() -> None:
    repeats = Repeats(lambda: 0.0)
    records = [logging.LogRecord("x", logging.INFO, "", 0, text, (), None) for text in ("a", "b", "a")]
    assert [repeats.filter(record) for record in records] == [True, True, False]


def test_a_value_of_any_length_is_one_line_of_bounded_length() -> None:
    said = line("collector refused reports", reason="x" * 5_000)
    assert said.endswith('x… (5000 characters)"')
    assert len(said) < 1_100
