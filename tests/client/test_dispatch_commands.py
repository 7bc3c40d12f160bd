import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO

import httpx
import pytest
from msgspec import structs
from rich.console import Console

from fallow_client import cli
from fallow_client.commands.quantities import flops, moment, seconds, size
from fallow_client.views import leases as views
from fallow_proto.dispatch import Cordon, Lease, LedgerState, Miss
from tests.client.conftest import environment
from tests.client.dispatching import Dispatching, told, watched
from tests.client.test_cli import GOLDEN, command, exit_status
from tests.collector.api.memory import SINCE
from tests.collector.api.served import serving

FIRST = "GPU-00c0ffee-1111-2222-3333-444444444440"
BUSY = "GPU-60c0ffee-1111-2222-3333-444444444446"


@pytest.fixture
def parts() -> Dispatching:
    return Dispatching()


@pytest.fixture
def address(parts: Dispatching) -> Iterator[str]:
    with serving(parts.app) as url:
        yield url


def quarantine(cordon_id: str) -> Cordon:
    return Cordon(
        cordon_id=cordon_id, kind="cordoned", owner="fallow", reason="3 leases failed at once", device=None,
        node="gpu-01", since=SINCE, starts=None, expires_in_s=None, ends=None, active=True,
    )


def ledger(name: str, age_s: float | None, stale: bool, *unmatched: str) -> LedgerState:
    return LedgerState(
        name=name, age_s=age_s, stale=stale, nodes=2, devices=16, allocated=5, unmatched=list(unmatched),
    )


SESSION = (
    ("fit", "fit --count 2 --same node", 0),
    ("fit_none", "fit --count 9 --vendor nvidia", 3),
    ("reserve", "reserve --count 2 --ttl 5m --holder ann@login --hold", 0),
    ("commit", "commit L1 --token 1772366400001 --holder ann@login", 0),
    ("renew", "renew L1 --token 1772366400001 --holder ann@login --ttl 10m", 0),
    ("leases", "leases", 0),
    ("cordon", f"cordon {FIRST} npu-01 --owner ann --reason fans --for 2h", 0),
    ("drain", "drain node:gpu-01 --owner ann --dry-run", 0),
    ("maintenance", "maintenance gpu-02 --owner ann --reason move --start 2030-03-01T20:00:00+08:00 "
     "--end 2030-03-01T22:00:00+08:00", 0),
    ("cordons", "cordons", 0),
    ("uncordon", "uncordon C1 npu-01 --owner ann", 0),
    ("release", "release L1 --token 1772366400001 --holder ann@login --outcome ok", 0),
    ("ledgers", "ledgers", 0),
)


def test_a_session_of_a_dispatcher_is_readable_at_80_columns(address: str, parts: Dispatching) -> None:
    """FALLOW_GOLDEN=write makes the files anew."""
    parts.ledgers.states += [
        ledger("slurm", 1.25, False, "node7 job 17 of ann 0000:18:00.0"), ledger("kubernetes", None, True),
    ]
    for name, words, status in SESSION:
        done = command(*words.split(), "--url", address)
        text = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
        file = GOLDEN / f"{name}.txt"
        if os.environ.get("FALLOW_GOLDEN") == "write":
            file.write_text(text, encoding="utf-8")
        assert (done.returncode, done.stderr) == (status, ""), name
        assert max(len(line) for line in text.splitlines()) <= 80, name
        assert text == file.read_text(encoding="utf-8"), name


def test_json_of_a_dispatcher_is_the_answer_of_the_api(address: str, parts: Dispatching) -> None:
    def said(*words: str) -> object:
        done = command(*words, "--json", "--url", address)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def answered(path: str) -> object:
        return httpx.get(f"{address}/api/v1/{path}", trust_env=False).json()

    assert said("reserve", "--device", FIRST, "--holder", "ann", "--hold")["devices"][0]["uuid"] == FIRST  # type: ignore[index]
    assert said("commit", "L1", "--token", "1772366400001", "--holder", "ann")["state"] == "leased"  # type: ignore[index]
    lease = said("leases", "--holder", "ann")
    assert [one["holder"] for one in lease["items"]] == ["ann"]  # type: ignore[index]
    said("cordon", "gpu-01", "--owner", "ann")
    assert said("cordons") == answered("cordons")
    assert said("uncordon", "gpu-01", "--owner", "ann") == ["C1"]
    assert said("ledgers") == answered("ledgers") == []
    assert said("fit", "--count", "2")["fits"] is True  # type: ignore[index]


def test_every_word_of_a_request_reaches_the_collector(address: str, parts: Dispatching) -> None:
    asked = []
    fit = parts.fit.fit
    parts.fit.fit = lambda request, sites=(): asked.append(request) or fit(request)  # type: ignore[method-assign, func-returns-value]
    words = (
        "fit --count 8 --per-node 4 --class intelligent --vendor nvidia,huawei --vendor metax --model A100 "
        "--profile 1g.10gb --free-memory 64GiB --flops 300T --precision bf16 --same rack --health ok "
        "--power-headroom 100 --confidence low --site north --exclude-site south --exclude-node n1,n2"
    )
    assert exit_status(words.split(), address) in (0, 3)
    [request] = asked
    assert (request.count, request.per_node, request.device_class) == (8, 4, "intelligent")
    assert (request.vendor, request.model) == (["nvidia", "huawei", "metax"], ["A100"])
    assert (request.partition_profile, request.free_memory_bytes) == ("1g.10gb", 64 * 2**30)
    assert (request.peak_flops, request.precision, request.same) == (3e14, "bf16", "rack")
    assert (request.health, request.power_headroom_watts, request.confidence) == ("ok", 100.0, "low")
    assert (request.sites, request.exclude_sites, request.exclude_nodes) == (["north"], ["south"], ["n1", "n2"])


@pytest.mark.parametrize(("words", "status", "message"), [
    ("reserve --count 9", 3, "6 of 9 devices are idle"),
    ("reserve --device GPU-0 --count 2", 2, "not both"),
    ("reserve --device none", 1, "no device's uuid is or begins with none"),
    ("fit --count x", 2, "invalid int value"),
    ("fit --free-memory 64Gib", 2, "'64Gib': expected such as 64GiB or 80GB; units: B, KiB"),
    ("fit --flops many", 2, "expected such as 300T"),
    ("reserve --ttl 5min", 2, "'5min': expected such as 90s, 5m"),
    ("commit L1", 2, "required: --token"),
    ("renew L9 --token 1", 1, "there is no lease L9"),
    ("release L9 --token 1 --outcome bad", 2, "invalid choice: 'bad'"),
    ("cordon gpu-01 --for 0", 2, "'0': expected more than 0"),
    ("cordon nowhere", 1, "begins with nowhere, no node is called nowhere; fallow devices lists uuids and nodes"),
    ("cordon GPU-", 1, "…; give more of it\n"),
    ("uncordon Q2", 1, "no node is called Q2, and no cordon has this id"),
    ("uncordon gpu-01 --owner ann", 1, "gpu-01 has no cordon of ann; it has Q1 of fallow"),
    ("uncordon npu-01 --owner ann", 1, "npu-01 has no cordon of ann; it has none at all"),
    ("uncordon Q1 --owner ann", 1, "cordon Q1 is of fallow"),
    ("maintenance gpu-01 --end tomorrow", 2, "expected a time with its offset"),
    ("maintenance gpu-01 --end 2030-03-01T20:00:00", 2, "expected a time with its offset"),
    ("watch --phase idel", 2, "did you mean idle?"),
    ("watch --url http://127.0.0.1:1", 1, "cannot be reached"),
])
def test_what_a_dispatcher_does_wrong_is_told_and_changes_nothing(
    address: str, parts: Dispatching, capsys: pytest.CaptureFixture[str], words: str, status: int, message: str
) -> None:
    parts.cordons.standing.append(quarantine("Q1"))
    assert exit_status(words.split(), address) == status
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert (parts.leases.held, len(parts.cordons.standing)) == ({}, 1)


@pytest.mark.parametrize("words", ["", "--start 2030-03-01T12:00:00Z", "--end 2030-03-01T12:00:00Z"])
def test_a_window_may_lack_its_start_and_its_end(address: str, parts: Dispatching, words: str) -> None:
    assert exit_status(f"maintenance gpu-01 --owner ann {words}".split(), address) == 0
    assert [one.kind for one in parts.cordons.standing] == ["maintenance"]


def test_what_would_fit_is_said_as_the_command_line_says_it(address: str, parts: Dispatching) -> None:
    def missing(*misses: tuple[str, str, str | None]) -> str:
        nearest = [Miss(relax=relax, asked=asked, fits_at=fits_at, then=3) for relax, asked, fits_at in misses]
        answered = parts.fit.fit
        parts.fit.fit = lambda request, sites=(): structs.replace(answered(request), nearest=nearest)  # type: ignore[method-assign]
        try:
            return command("fit", "--count", "9", "--url", address).stdout
        finally:
            parts.fit.fit = answered  # type: ignore[method-assign]

    said = missing(
        ("wait", "idle", "verifying,releasing"), ("free_memory_bytes", "75161927680", "68716040762"),
        ("peak_flops", "1.2e15", "312000000000000"), ("power_headroom_watts", "1000.0", "334"),
        ("same", "link", "rack"), ("sites", "north", ""),
    )
    for change, instead in (
        ("waiting for what is verifying or releasing", "idle now"), ("--free-memory 63.99GiB", "70GiB"),
        ("--flops 312T", "1.2P"), ("--power-headroom 334", "1000"), ("--same rack", "link"), ("no --site", "north"),
    ):
        assert re.search(rf"^{change}  +{instead} +3", said, flags=re.MULTILINE), change
    said = missing(("vendor", "foo (there is no foo)", None))
    assert re.search(r"^--vendor +foo \(there is no foo\) +3$", said, flags=re.MULTILINE)


@pytest.mark.parametrize(("state", "fenced", "expected"), [
    ("reserved", False, "hear of it when it is committed"),
    ("leased", True, "have all confirmed the token"),
    ("leased", False, "those away are told when they are back"),
    ("releasing", False, "have not all heard yet that it has ended"),
])
def test_what_the_nodes_know_of_a_lease_is_said_in_words(state: str, fenced: bool, expected: str) -> None:
    lease = Lease(
        lease_id="L1", holder="ann", fencing_token=1, state=state, ttl_s=1.0, expires_in_s=None, since=SINCE,
        fenced=fenced, devices=[],
    )
    out = Console(file=StringIO(), width=100)
    out.print(*views.lease(lease))
    assert expected in out.file.getvalue()  # type: ignore[attr-defined]


def test_what_the_collector_quarantined_is_lifted_by_its_id(address: str, parts: Dispatching) -> None:
    parts.cordons.standing.append(quarantine("Q1"))
    assert exit_status(["uncordon", "Q1", "--owner", "fallow"], address) == 0
    assert parts.cordons.standing == []


def test_the_same_key_reserves_once(address: str, parts: Dispatching) -> None:
    for _ in range(2):
        assert exit_status(["reserve", "--holder", "ann", "--key", "job-17"], address) == 0
    assert list(parts.leases.held) == ["L1"]


def test_amounts_are_read_in_the_units_that_people_use() -> None:
    assert [size(text) for text in ("0", "512MiB", "1.5GiB", "80GB", "7B")] == [0, 2**29, 3 * 2**29, 80 * 10**9, 7]
    assert [flops(text) for text in ("300T", "1.5P", "2G")] == [3e14, 1.5e15, 2e9]
    assert [seconds(text) for text in ("90", "90s", "5m", "2h", "1d")] == [90.0, 90.0, 300.0, 7200.0, 86_400.0]
    assert moment("2026-03-01T20:00:00+08:00") == moment("2026-03-01T12:00:00Z") == "2026-03-01T12:00:00.000Z"


LISTED = [told("added", 5, watched("g1"), last=False), told("bookmark", 5, complete=True, max_age_ms=300)]


@pytest.mark.parametrize("words", [["watch"], ["watch", "--json"], ["watch", "--url", "SECOND"]])
def test_changes_are_told_a_line_each_until_ctrl_c(parts: Dispatching, address: str, words: list[str]) -> None:
    another = Dispatching()
    parts.watches.script += [[*LISTED, told("modified", 6, watched("g1", "leased")), told("bookmark", 7)]]
    another.watches.script += [[told("added", 1, watched("s1"), last=False), told("bookmark", 1, complete=False)]]
    with serving(another.app) as second:
        given = [second if word == "SECOND" else word for word in words]
        process = subprocess.Popen(
            [sys.executable, "-m", "fallow_client.cli", *given, "--url", address], env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        assert process.stdout is not None
        expected = 4 if "--json" in words else 5 if "--url" in words else 3
        try:
            lines = [process.stdout.readline().rstrip("\n") for _ in range(expected)]
            process.send_signal(2)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    assert (process.returncode, errors) == (0, "")
    bookmark = "-- as of 2026-03-01T12:00:00.250Z, oldest evidence 0.3 s, complete; what follows are changes"
    plain = ["12:00:00 + g1 gpu-01 idle", bookmark, "12:00:00 ~ g1 gpu-01 leased"]
    match words:
        case ["watch"]:
            assert lines == plain
        case [_, "--json"]:
            assert [json.loads(line)["kind"] for line in lines] == ["added", "bookmark", "modified", "bookmark"]
        case _:
            place = address.removeprefix("http://")
            assert [line.removeprefix(f"{place}: ") for line in lines if line.startswith(place)] == plain
            assert sum(line.startswith(second.removeprefix("http://")) for line in lines) == 2


def test_a_token_for_dispatchers_can_be_made() -> None:
    minted = json.loads(command("token", "new", "--role", "lease", "--name", "slurm", "--json").stdout)
    assert 'role = "lease"' in minted["line"]


@pytest.mark.parametrize("name", [one.name for one in cli.COMMANDS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([name, "--help"], "http://a%20b") == 0
    assert "--json" in capsys.readouterr().out
