import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fallow_client import cli
from fallow_client.aio import AsyncClient
from fallow_client.calls import Which
from fallow_client.client import Client
from fallow_client.errors import Refused
from fallow_collector.api.app import make_app
from fallow_proto.alerts import SilenceWanted
from tests.client.test_cli import GOLDEN, command, exit_status
from tests.collector.alerts.desk import Desk
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import serving


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    with serving(lambda: make_app(MemoryAnswers(), None, "0.0.0", alerts=desk.alerts)) as url:
        yield url


SILENCE = ["silence", "node=n1", 'alertname=~"Device.*"', "--for", "2h", "--comment", "fans", "--owner", "ann@login"]

SESSION = (
    ("alerts", ["alerts"]),
    ("alerts_pending", ["alerts", "--state", "pending,resolved", "--node", "n1"]),
    ("alerts_none", ["alerts", "--severity", "critical"]),
    ("alerts_page", ["alerts", "--rule", "DeviceHot", "--limit", "2"]),
    ("alert_rules", ["alerts", "rules"]),
    ("alert_receivers", ["alerts", "receivers"]),
    ("silence", SILENCE),
    ("silences", ["silence"]),
    ("alerts_silenced", ["alerts", "--uuid", "g1"]),
)


def test_a_session_about_alerts_is_readable_at_80_columns(address: str) -> None:
    """FALLOW_GOLDEN=write makes the files anew."""
    for name, words in SESSION:
        done = command(*words, "--url", address)
        text = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
        file = GOLDEN / f"{name}.txt"
        if os.environ.get("FALLOW_GOLDEN") == "write":
            file.write_text(text, encoding="utf-8")
        assert (done.returncode, done.stderr) == (0, ""), name
        assert name == "silence" or max(len(line) for line in text.splitlines()) <= 80, name
        assert text == file.read_text(encoding="utf-8"), name


@pytest.mark.parametrize(("words", "path"), [
    ("alerts --state firing --node n1 --uuid g0,g1 --limit 1",
     "/api/v1/alerts?state=firing&node=n1&uuid=g0,g1&limit=1"),
    ("alerts --rule DeviceHot --severity warning", "/api/v1/alerts?rule=DeviceHot&severity=warning"),
    ("alerts rules", "/api/v1/alerts/rules"),
    ("alerts receivers", "/api/v1/alerts/receivers"),
    ("silence", "/api/v1/silences"),
])
def test_json_is_the_answer_of_the_api_to_the_byte(
    address: str, capsys: pytest.CaptureFixture[str], words: str, path: str
) -> None:
    assert exit_status([*words.split(), "--json"], address) == 0
    assert capsys.readouterr().out.encode() == httpx.get(address + path, trust_env=False).content + b"\n"


def test_a_silence_begins_and_ends(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([*SILENCE, "--json"], address) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["comment"], made["created_by"], made["state"]) == ("fans", "ann@login", "active")
    assert made["matchers"] == ['node="n1"', 'alertname=~"Device.*"']
    assert exit_status(["silence", "--end", made["id"]], address) == 0
    assert capsys.readouterr().out == f"ended {made['id']}; what still fires is told\n"
    with Client(address) as client:
        assert [one.state for one in client.silences().items] == ["expired"]


def test_a_test_message_that_does_not_arrive_is_a_failure(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["alerts", "test", "ops"], address) == 1
    assert "ops: NOT delivered: " in capsys.readouterr().out
    assert exit_status(["alerts", "test", "ops", "--json"], address) == 1
    assert json.loads(capsys.readouterr().out)["delivered"] is False


@pytest.mark.parametrize(("words", "status", "message"), [
    ("alerts rule", 2, "invalid choice: 'rule'"),
    ("alerts rules ops", 2, "'ops' is one word too many"),
    ("alerts test", 2, "needs a RECEIVER; fallow alerts receivers lists them"),
    ("alerts test opps", 1, "there is no receiver 'opps'; expected one of: ops"),
    ("alerts --state fireing", 2, "did you mean firing"),
    ("silence node=n1", 2, "expected --for, such as --for 2h"),
    ("silence --for 2h", 2, "expected such as node=gpu-01"),
    ("silence --end 1 node=n1", 2, "expected one of the two"),
    ("silence --end 99", 1, "there is no silence 99"),
    ("silence node --for 2h", 2, "node"),
    ("silence severity!=x --for 2h", 2, "would silence too much"),
])
def test_what_goes_wrong_is_told_and_nothing_is_silenced(
    address: str, capsys: pytest.CaptureFixture[str], words: str, status: int, message: str
) -> None:
    assert exit_status(words.split(), address) == status
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    with Client(address) as client:
        assert client.silences().items == []


def test_several_collectors_are_asked_at_once_and_silenced_one_by_one(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"FALLOW_URL": f"{address},http://127.0.0.1:1"}
    for words in (["alerts"], ["alerts", "rules"], ["alerts", "receivers"], ["silence"]):
        assert cli.fallow(words, both) == 0
        said = capsys.readouterr().out
        assert "1 of 2 collectors answered, INCOMPLETE" in said
        assert "127.0.0.1:1: MISSING" in said
    for words in (["alerts", "test", "ops"], SILENCE, ["silence", "--end", "1"], ["alerts", "--cursor", "x"]):
        assert cli.fallow(words, both) == 2
        assert "expected one --url" in capsys.readouterr().err


def test_both_clients_ask_about_alerts_and_silence_them(address: str) -> None:
    with Client(address) as client:
        assert [one.labels["uuid"] for one in client.alerts(Which(state=("pending",))).items] == ["g4"]
        assert [one.name for one in client.alert_rules().items] == ["DeviceHot", "NodeLost", "LinkSlow"]
        assert [one.name for one in client.alert_receivers().items] == ["ops"]
        assert not client.test_receiver("ops").delivered
        made = client.silence(SilenceWanted(matchers=["node=n1"], comment="", for_s=60.0))
        client.end_silence(made.id)
        with pytest.raises(Refused, match="there is no silence"):
            client.end_silence("none")

    async def awaited() -> None:
        async with AsyncClient(address) as client:
            assert len((await client.alerts(limit=3)).items) == 3
            assert [one.name for one in (await client.alert_rules()).items] == ["DeviceHot", "NodeLost", "LinkSlow"]
            assert [one.name for one in (await client.alert_receivers()).items] == ["ops"]
            assert not (await client.test_receiver("ops")).delivered
            made = await client.silence(SilenceWanted(matchers=["node=n1"], comment="", for_s=60.0))
            await client.end_silence(made.id)
            assert [one.state for one in (await client.silences()).items] == ["expired", "expired"]

    asyncio.run(awaited())
