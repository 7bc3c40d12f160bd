import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from fallow_client import cli
from fallow_collector.api.tokens import Role, Tokens, find, parse
from tests.client.conftest import DEADLINE_S, Fallow, environment
from tests.collector.api.memory import MemoryAnswers, device
from tests.collector.api.served import served

GOLDEN = Path(__file__).parent / "golden"
HOST = "CPU-gpu-01"
FIRST = "GPU-00c0ffee-1111-2222-3333-444444444440"
BUSY = "GPU-60c0ffee-1111-2222-3333-444444444446"
GONE = "GPU-dead0000-1111-2222-3333-444444444448"


@pytest.mark.parametrize(("name", "words", "status"), [
    ("capacity", "capacity", 0),
    ("capacity_none", "capacity --vendor huawei", 3),
    ("totals", "capacity --by site,domestic --precision fp16", 0),
    ("totals_none", "capacity --by model --vendor huawei", 3),
    ("capacity_nothing", "capacity --site nowhere", 3),
    ("devices", "devices", 0),
    ("devices_page", "devices --phase idle,unmanaged --limit 3", 0),
    ("device", f"device {BUSY}", 0),
    ("device_unread", "device GPU-7", 0),
    ("nodes", "nodes", 0),
    ("history", f"history {BUSY} --columns power_watts,memory_usage_bytes,utilization_ratio", 0),
    ("explain", "explain GPU-7", 0),
    ("baseline", f"baseline show {BUSY}", 0),
    ("top", "top --sort power", 0),
])
def test_tables_are_readable_at_80_columns(fallow: Fallow, name: str, words: str, status: int) -> None:
    """FALLOW_GOLDEN=write makes the files anew."""
    answer = fallow(*words.split())
    text = "\n".join(line.rstrip() for line in answer.stdout.splitlines()) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("FALLOW_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert (answer.returncode, answer.stderr) == (status, "")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("words", "path"), [
    ("capacity --class general", "/api/v1/capacity?class=general"),
    ("capacity --by vendor,domestic --precision bf16", "/api/v1/totals?by=vendor,domestic&precision=bf16"),
    ("capacity --precision int8", "/api/v1/totals?precision=int8"),
    ("devices --limit 2 --cursor GPU-1", "/api/v1/devices?limit=2&cursor=GPU-1"),
    (f"device {BUSY}", f"/api/v1/devices/{BUSY}"),
    ("nodes --node gpu-01 --node npu-01", "/api/v1/nodes?node=gpu-01,npu-01"),
    (f"explain {BUSY}", f"/api/v1/devices/{BUSY}/explain"),
    ("top --site south", "/api/v1/devices?site=south&limit=10000"),
    (f"history {BUSY} --columns processes --start 2h --step 0",
     f"/api/v1/history?uuid={BUSY}&columns=processes&start=-2h&step=0"),
])
def test_json_is_the_answer_of_the_api_to_the_byte(fallow: Fallow, url: str, words: str, path: str) -> None:
    answer = fallow(*words.split(), "--json")
    assert answer.stdout.encode() == httpx.get(url + path, trust_env=False).content + b"\n"
    assert (answer.returncode, answer.stderr) == (0, "")


def test_json_says_no_capacity_with_the_same_exit_status(fallow: Fallow) -> None:
    answer = fallow("capacity", "--vendor", "huawei", "--json")
    assert json.loads(answer.stdout)["groups"][0]["idle"] == 0
    assert answer.returncode == 3


@pytest.mark.parametrize(("words", "status", "message"), [
    ("", 2, "required: COMMAND"),
    ("capasity", 2, "invalid choice: 'capasity'"),
    ("capacity --vendr nvidia", 2, "unrecognized arguments"),
    ("capacity --by rack", 2, "by=rack: there is no rack"),
    ("capacity --precision fp4", 2, "invalid choice: 'fp4'"),
    ("devices --phase idel", 2, "did you mean idle?"),
    ("devices --limit 0", 2, "limit=0: Expected `int` >= 1"),
    ("devices --limit x", 2, "invalid int value"),
    ("history CPU --columns powr", 2, "did you mean power_watts?"),
    ("history CPU --start soon", 2, "start=soon: expected unix seconds"),
    ("device", 2, "required: UUID"),
    ("device none", 1, "no device's uuid is or begins with none"),
    ("explain GPU-", 1, "several uuids begin with GPU-: GPU-00c0ffee"),
    (f"retire {BUSY}", 1, "only an absent one can be retired"),
    (f"baseline accept {HOST}", 1, "shows no power now"),
    ("baseline show none", 1, "no device's uuid is or begins with none"),
    ("declare", 2, "one of the arguments UUID --file --seen is required"),
    ("declare --file none.csv", 1, "none.csv: cannot be read"),
    ("declare a/b", 2, "printable characters without /"),
    ("capacity --url foo", 1, "'foo' is not a URL of a collector"),
    ("capacity --url http://127.0.0.1:1", 1, "cannot be reached"),
    ("capacity --token-file none", 1, "--token-file: none cannot be read"),
    ("token new --role root --name x", 2, "invalid choice: 'root'"),
    ("token new --role read --name x --site", 2, "expected one argument"),
    ("token new --role read --name a=b", 2, "'a=b': expected 1 to 64 letters"),
])
def test_what_goes_wrong_is_told_on_stderr_and_by_the_exit_status(
    url: str, capsys: pytest.CaptureFixture[str], words: str, status: int, message: str
) -> None:
    assert exit_status(words.split(), url) == status
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


def test_a_store_that_is_down_is_a_failure(fallow: Fallow, answers: MemoryAnswers) -> None:
    answers.store_down = "the store cannot be asked: disk full"
    answer = fallow("history", HOST)
    assert (answer.returncode, answer.stderr) == (1, "fallow: the store cannot be asked: disk full\n")


def test_the_beginning_of_a_uuid_is_enough_when_it_is_the_only_one(fallow: Fallow, answers: MemoryAnswers) -> None:
    assert json.loads(fallow("device", "GPU-6", "--json").stdout)["device"]["uuid"] == BUSY
    assert json.loads(fallow("baseline", "accept", "GPU-6", "--json").stdout)["uuid"] == BUSY
    assert fallow("retire", "GPU-dead").stdout == f"retired {GONE}\n"
    assert GONE not in [one.uuid for one in answers.members]
    assert fallow("history", "CPU").returncode == 0
    assert answers.asked[0].uuid == HOST


def test_a_whole_uuid_wins_over_those_that_it_begins(fallow: Fallow, answers: MemoryAnswers) -> None:
    answers.members += [device(FIRST + "-MIG-0"), device(FIRST + "-MIG-1")]
    assert json.loads(fallow("device", FIRST, "--json").stdout)["device"]["uuid"] == FIRST


def test_devices_are_declared_by_uuid_by_file_and_as_seen(
    fallow: Fallow, answers: MemoryAnswers, tmp_path: Path
) -> None:
    assert fallow("declare", "NEW-1", BUSY).stdout == "declared 1, and 1 that were declared already\n"
    table = tmp_path / "inventory.csv"
    table.write_text("\ufeffuuid,node,class\nNEW-2,gpu-07,intelligent\nNEW-3,gpu-08,\n", encoding="utf-8")
    assert json.loads(fallow("declare", "--file", str(table), "--json").stdout) == {"declared": 2, "already": 0}
    toml = tmp_path / "inventory.toml"
    toml.write_text('[[devices]]\nuuid = "NEW-4"\nmodel = "H100"\n')
    assert fallow("declare", "--file", str(toml)).stdout == "declared 1, and 0 that were declared already\n"
    assert {one.node for one in answers.members if one.uuid in ("NEW-2", "NEW-3")} == {"gpu-07", "gpu-08"}
    undeclared = sum(not one.declared for one in answers.members)
    assert json.loads(fallow("declare", "--seen", "--json").stdout)["declared"] == undeclared == 5


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.csv", "uuid,modle\nx,y\n", "unknown column 'modle'; expected uuid, site, node, vendor, model, class; did you"),
    ("a.csv", "site,node\nx,y\n", "has no column uuid"),
    ("a.csv", "", "has no column uuid"),
    ("a.csv", "uuid,node\nx\n", "line 2: expected 2 fields"),
    ("a.csv", "uuid,node\nx,y\nx,y,z\n", "line 3: expected 2 fields"),
    ("a.csv", "uuid\n", "devices is empty"),
    ("a.toml", "[[devices]\n", "expected [[devices]] tables"),
    ("a.toml", "[[device]]\nuuid = 'x'\n", "unknown field `device`"),
    ("a.toml", "[[devices]]\nuuid = 3\n", "Expected `str`, got `int`"),
    ("a.json", "{}", "its name ends in '.json'; expected .toml or .csv"),
    ("a.csv", "uuid\nx\nx\n", "is there twice"),
])
def test_a_bad_inventory_file_declares_nothing(
    url: str, answers: MemoryAnswers, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str,
    message: str,
) -> None:
    path = tmp_path / name
    path.write_text(text)
    before = len(answers.members)
    assert exit_status(["declare", "--file", str(path)], url) in (1, 2)
    assert message in capsys.readouterr().err
    assert len(answers.members) == before


def test_a_new_token_opens_the_collector_that_has_its_line(tmp_path: Path) -> None:
    minted = json.loads(command("token", "new", "--role", "admin", "--name", "ops", "--json").stdout)
    path = tmp_path / "tokens"
    path.write_text(minted["line"])
    path.chmod(0o600)
    secret = tmp_path / "secret"
    secret.write_text(minted["secret"] + "\n")
    secret.chmod(0o600)
    with served(MemoryAnswers(), Tokens(path)) as url:
        refused = command("capacity", "--url", url)
        assert (refused.returncode, refused.stderr[:29]) == (1, "fallow: no token came; expect")
        assert refused.stderr.endswith("; fallow takes it from --token-file or FALLOW_TOKEN\n")
        shown = command("capacity", "--url", url, FALLOW_TOKEN=minted["secret"])
        assert (shown.returncode, shown.stderr) == (0, "")
        assert command("retire", GONE, "--url", url, "--token-file", str(secret)).returncode == 0
        elsewhere = url.replace("127.0.0.1", "0.0.0.0")  # this machine, and no address that can only be
        heard = command("capacity", "--url", elsewhere, FALLOW_TOKEN=minted["secret"])
        assert heard.returncode == 0
        assert heard.stderr.startswith(f"fallow: the token goes to {elsewhere} in plain text")
        secret.chmod(0o644)
        leaking = command("capacity", "--url", url, "--token-file", str(secret), FALLOW_TOKEN=minted["secret"])
        assert leaking.returncode == 1
        assert "everybody may read it" in leaking.stderr


def test_a_new_token_is_printed_for_people_with_the_line_for_the_collector() -> None:
    lines = command("token", "new", "--role", "read", "--name", "ci").stdout.splitlines()
    tokens = parse(lines[4], "tokens")
    found = find(lines[1], tokens)
    assert found is not None
    assert (found.name, found.role) == ("ci", Role.READ)


def test_strings_of_devices_command_no_terminal(fallow: Fallow, answers: MemoryAnswers) -> None:
    answers.members[:] = [device("GPU-1", node="\x1b]0;owned\x07[bold]x", model="\x1b[2J", reasons=["\x9b31m"])]
    for words in ("devices", "device GPU-1", "capacity", "nodes", "explain GPU-1"):
        shown = fallow(*words.split()).stdout
        assert not {"\x1b", "\x07", "\x9b"} & set(shown), words
    assert "[bold]x" in fallow("devices").stdout


def test_a_pager_that_closes_early_is_no_error(url: str) -> None:
    piped = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m fallow_client.cli devices --json | head -c 1"],
        env=environment(FALLOW_URL=url), capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )
    assert (piped.stdout, piped.stderr) == ("{", "")


def exit_status(words: list[str], url: str) -> int:
    """Of the command in this very process."""
    try:
        return cli.fallow(words, {"FALLOW_URL": url})
    except SystemExit as ended:
        return int(ended.code or 0)


def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fallow_client.cli", *words], env=environment(**changes), capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )
