"""Hostile words in every place where words of agents and callers end up: refused, or read back as they were."""

import json
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from fallow_agent.logs import line
from fallow_client.cli import complain
from fallow_client.views.table import add, table
from fallow_client.views.text import plain
from fallow_collector.alerts.receivers import KINDS
from fallow_collector.alerts.receivers.request import Context
from fallow_collector.api.exposition import Sample, render
from fallow_collector.ingest import processes
from fallow_collector.ingest.hello import LABEL_LENGTH, cleaned, complaint, name_fault
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.refusals import Refusals
from fallow_collector.ingest.session import Record, Refused, Session
from fallow_collector.logs import OneLine
from fallow_collector.series import Series
from fallow_collector.state import EventRow, State
from fallow_collector.stores.influx.lines import Unspeakable, prefix
from fallow_collector.watch.events import event as sse
from fallow_collector.watch.events import watched_of
from fallow_collector.watch.shown import SHOWN
from fallow_proto.dispatch import Change
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.alerts.shelf import alert, notification
from tests.collector.ingest.builders import WALL, device, event, events, hello, listed
from tests.collector.stores.contract import START, ask, batch, rows
from tests.collector.stores.embedded.conftest import Place
from tests.collector.watching import Watched

HOSTILE = (
    "a\nb", "a\r\nb", "a,b=c d", 'quo"te', "it's", "back\\", "back\\\\", "nul\x00", "\x1b[2J\x1b]0;x\x07", "\u202eabc",
    "\u2028", "${jndi:ldap://x}", "{{7*7}}", "<script>alert(1)</script>", "'; DROP TABLE events; --", "=cmd()", "é",
    "😀",
    "\x7f", "\x85", "", " ", "#", "[red]x[/red]",
)
CONTEXT = Context("https://hooks.example.com/x", ("k",), "", "http://fallow.example.com:4918", "1.2.3", WALL)
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


@given(WORDS, WORDS, WORDS)
def test_what_an_event_tells_is_printable_and_its_names_are_right_or_it_is_refused(
    kind: str, source: str, message: str
) -> None:
    if not all(map(_encodes, (kind, source, message))):
        return
    session: Session[Any] = Session(Received(), lambda node, layout: lambda *report: None, None)
    session.handle(hello(), 0.0, WALL)
    actions: Sequence[object] = session.handle(events(
        event(1, kind=kind, source=source, message=message), event(2, id=source), event(3, device=message)
    ), 0.0, WALL)
    for action in actions:
        for one in action.events if isinstance(action, Record) else ():
            assert "".join((one.kind, one.source, one.message, one.id, one.device)).isprintable()
        if isinstance(action, Refused):
            assert action.detail.isprintable()


@given(WORDS, WORDS, WORDS)
def test_what_is_told_of_a_process_is_printable(command: str, user: str, cgroup: str) -> None:
    if not all(map(_encodes, (command, user, cgroup))):
        return
    told = listed(pb.Process(pid=1, command=command, user=user, cgroup=cgroup, problem=user)).processes
    processes.clean(told)
    [one] = told.processes
    assert "".join((one.command, one.user, one.cgroup, one.problem)).isprintable()
    assert bool(one.problem) == bool(user), "what cannot be printed is a problem all the same"


@settings(deadline=None)
@given(WORDS, WORDS, WORDS)
def test_no_label_of_an_alert_calls_anybody_or_links_anywhere_in_a_chat(node: str, model: str, site: str) -> None:
    if not all(map(_encodes, (node, model, site))):
        return
    for calling in ("", "<!channel>", "<@U1>", "<at user_id=\"all\">", "@all", "[x](http://e)", "<b>"):
        one = alert(1, node=f"{calling}{node}", model=f"{model}{calling}", site=f"{site}{calling}")
        told = {
            kind: json.loads(KINDS[kind].render(notification("a1", one), CONTEXT).body)
            for kind in ("slack", "feishu", "dingtalk", "wecom", "webhook")
        }
        section = told["slack"]["blocks"][1]["text"]["text"]
        assert set(re.findall("<[^>]*>", section)) <= {"<http://fallow.example.com:4918>"}
        assert not set(told["slack"]["text"]) & set("<>")
        content = told["feishu"]["content"]["post"]["zh_cn"]["content"]
        assert {part["tag"] for line in content for part in line} == {"text"}
        assert {part["text"].count("\n") for line in content for part in line} == {0}
        assert told["dingtalk"].keys() == {"msgtype", "markdown"}, "without `at` nobody is called"
        markdown = told["dingtalk"]["markdown"]["text"]
        assert not set(markdown) & set("<>")
        assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]`*_]", markdown)
        title, *below = told["wecom"]["markdown"]["content"].split("\n")
        assert not set("".join((title.removeprefix("**").removesuffix("**"), *below))) & set("<>[]`*")
        [sent] = told["webhook"]["alerts"]
        assert (sent["labels"]["node"], sent["labels"]["site"]) == (f"{calling}{node}", f"{site}{calling}")


@settings(deadline=None)
@given(WORDS, WORDS)
def test_a_change_is_one_event_of_a_watch_and_is_read_back(uuid: str, reason: str) -> None:
    if not (_encodes(uuid) and _encodes(reason)):
        return
    record = np.zeros((), SHOWN)
    watched = Watched()
    watched.fleet.identities[0] = msgspec.structs.replace(watched.fleet.identities[0], uuid=uuid)
    told = watched_of(watched.fleet, 0, record, reason)
    said = sse(Change(kind="added", epoch="e", revision=1, as_of="", device=told), last=True)
    lines = said.decode().split("\n")
    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data", "", ""]
    device_told = msgspec.json.decode(lines[2].removeprefix("data: "))["device"]
    assert (device_told["uuid"], device_told["lease_id"]) == (uuid, reason)


@given(WORDS, WORDS)
def test_a_record_of_the_collector_s_log_is_one_line_and_a_traceback_is_indented(word: str, why: str) -> None:
    try:
        raise ValueError(why)
    except ValueError:
        record = logging.LogRecord("fallow_collector", logging.INFO, "", 1, "node=%s", (word,), sys.exc_info())
    first, *rest = OneLine().format(record).split("\n")
    assert first.startswith("level=INFO at=fallow_collector node=")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    if word.isprintable():
        assert first.endswith(f"node={word}")


def test_hostile_names_are_stored_as_they_are_and_found_again(tmp_path: Path) -> None:
    named = [Series("s", word, word, word, word, "c") for word in HOSTILE]
    place = Place(tmp_path / "store")
    store, _ = place.open()
    store.write(batch(
        *(rows([at], {"power_watts": [float(at)]}, series=at) for at in range(len(named))), series=named
    ), START)
    for at, word in enumerate(HOSTILE):
        assert store.history(ask("power_watts", uuid=word)).values.tolist() == [[at]]
    state = State(tmp_path / "state")
    told = [EventRow(word, word, f"{at}", at + 1, word, word, 1, at, at, word) for at, word in enumerate(HOSTILE)]
    state.record(told)
    assert sorted(state.events_since(0, HOSTILE, 100), key=lambda one: one.seq) == told
    state.close()
    place.close()


@given(WORDS)
def test_what_a_collector_says_of_an_error_commands_no_terminal(word: str) -> None:
    out = StringIO()
    with redirect_stderr(out):
        complain(f"there is no device {word}")
    assert all(line.isprintable() and line.startswith("fallow: ") for line in out.getvalue()[:-1].split("\n"))


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
