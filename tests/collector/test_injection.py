"""Hostile words in every place where words of agents and callers end up: refused, or read back as they were."""

import re
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from fallow_agent.logs import line
from fallow_client.views.table import add, table
from fallow_client.views.text import plain
from fallow_collector.api.exposition import Sample, render
from fallow_collector.ingest.hello import LABEL_LENGTH, cleaned, complaint, name_fault
from fallow_collector.ingest.refusals import Refusals
from fallow_collector.series import Series
from fallow_collector.stores.influx.lines import Unspeakable, prefix
from tests.collector.ingest.builders import device, hello

HOSTILE = (
    "a\nb", "a\r\nb", "a,b=c d", 'quo"te', "it's", "back\\", "back\\\\", "nul\x00", "\x1b[2J\x1b]0;x\x07", "\u202eabc",
    "\u2028", "${jndi:ldap://x}", "{{7*7}}", "<script>alert(1)</script>", "'; DROP TABLE events; --", "=cmd()", "é",
    "😀",
    "\x7f", "\x85", "", " ", "#", "[red]x[/red]",
)
WORDS = st.text(max_size=40) | st.sampled_from(HOSTILE) | st.text(alphabet="\\,= \n\r\"'{}\x00\x1b#", max_size=20)


@given(WORDS)
def test_a_name_is_printable_or_refused(word: str) -> None:
    told = complaint(hello(node=word).hello) if _encodes(word) else "refused by the wire"
    assert bool(told) == bool(name_fault(word, 253)) or not _encodes(word)
    if not told:
        assert word.isprintable()
        assert not word.endswith("\\")
        assert not set(word) & set(" \n\r\t\x00\x1b")


@given(WORDS)
def test_a_description_is_cleaned_to_one_printable_line(word: str) -> None:
    found = cleaned(word, LABEL_LENGTH)
    assert found.isprintable()
    assert len(found) <= LABEL_LENGTH
    if word.isprintable():
        assert found == word[:LABEL_LENGTH]


@given(WORDS, WORDS, WORDS)
@example("n", "u\\", "m")
def test_tags_of_line_protocol_are_read_back_or_refused(node: str, uuid: str, model: str) -> None:
    series = Series("s", node, uuid, "v", model, "c")
    try:
        said = prefix(series)
    except Unspeakable:
        return
    assert "\n" not in said
    parts = re.split(r"(?<!\\),", said)
    read = dict(re.split(r"(?<!\\)=", part, maxsplit=1) for part in parts[1:])
    for key, value in (("node", node), ("uuid", uuid), ("model", model)):
        assert re.sub(r"\\([,= ])", r"\1", read.get(key, "")) == value.rstrip("\\")


@given(WORDS)
def test_labels_of_prometheus_text_are_read_back(word: str) -> None:
    if not _encodes(word):
        return
    lines = render([Sample("m", "gauge", word, {"l": word}, 1.0)]).decode().split("\n")
    assert [one[:6] for one in lines] == ["# HELP", "# TYPE", lines[2][:6], ""]
    if word:
        escaped = re.fullmatch(r'm\{l="((?:[^"\\]|\\.)*)"\} 1', lines[2])
        assert escaped is not None
        assert re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), escaped[1]) == word


@given(WORDS)
def test_a_line_of_the_agent_s_log_is_one_line(word: str) -> None:
    said = line("something happened", word=word)
    assert said.isprintable()
    assert len(said.splitlines()) == 1


@given(WORDS, WORDS)
def test_a_line_of_refusals_is_one_line(node: str, detail: str) -> None:
    said = Refusals().note(cleaned(node, LABEL_LENGTH), "malformed", 1, detail, 0.0)
    assert said.isprintable()


@given(WORDS)
def test_no_cell_of_a_table_commands_a_terminal(word: str) -> None:
    out = StringIO()
    made = table("one", ">two")
    add(made, (plain(word), plain(word)))
    Console(file=out, force_terminal=False, width=200).print(made)
    assert not set(out.getvalue()) - {"\n"} & {chr(code) for code in (*range(32), *range(127, 160))}


@pytest.mark.parametrize("word", [word for word in HOSTILE if name_fault(word, 253)])
def test_a_hello_with_such_a_name_is_refused_and_says_which(word: str) -> None:
    for changed in ({"node": word}, {"site": word}, {"epoch": word}, {"devices": [device(word)]}):
        told = complaint(hello(**changed).hello)  # type: ignore[arg-type]
        assert told
        assert told.isprintable()


def _encodes(word: str) -> bool:
    """Whether it can be on the wire at all: text in protobuf is UTF-8, which has no lone surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
