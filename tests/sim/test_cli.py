"""The command itself, as a process where that matters."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from fallow_sim.cli import main
from tests.sim.server import Server, serving


async def command(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; from fallow_sim.cli import main; sys.exit(main())", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def test_a_bounded_run_ends_with_everything_acknowledged_a_summary_and_the_truth(tmp_path: Path) -> None:
    async def scenario() -> tuple[Server, int, str, str]:
        server = Server()
        async with serving(server) as port:
            return server, *await command(
                "--collector", f"127.0.0.1:{port}", "--nodes", "3", "--devices", "2", "--interval", "0.2",
                "--duration", "2", "--json", "--truth", str(tmp_path / "truth.jsonl"), "--vendors", "nvidia,mthreads",
                "--acked", str(tmp_path / "acked.jsonl"),
            )

    server, code, out, err = asyncio.run(scenario())
    assert code == 0
    summary = json.loads(out)
    assert summary["acked"] == summary["sent"] == 30
    assert summary["pending"] == summary["refused"] == 0
    assert summary["ack_p99_s"] > 0
    assert "connected=3" in err
    uuids = {device.uuid for hello in server.hellos for device in hello.devices}
    assert {device.vendor for hello in server.hellos for device in hello.devices} == {"nvidia", "mthreads"}
    for line in (tmp_path / "truth.jsonl").read_text().splitlines():
        free = json.loads(line)
        assert free["uuid"] in uuids
        assert free["free_from"] < free["free_to"]
    told = [json.loads(line) for line in (tmp_path / "acked.jsonl").read_text().splitlines()]
    assert {uuid for node in told for uuid in node["devices"]} == uuids
    assert [(node["made"], node["acked"]) for node in told] == [(10, [[1, 10]])] * 3
    sent = {report.time_ms for batch in server.batches for report in batch.reports}
    assert {round((node["first"] + n * node["interval_s"]) * 1000) for node in told for n in range(10)} == sent


def test_a_recording_is_replayed_faster_than_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "node7.csv"
    rows = [f"{1000 + 5 * n},card{d},{150 + d},0,2000,10" for n in range(12) for d in range(2)]
    path.write_text("\n".join(["unix_s,device,power_w,gpu_util_pct,vram_total_b,vram_used_b", *rows]) + "\n")

    async def scenario() -> tuple[Server, int, str, str]:
        server = Server()
        async with serving(server) as port:
            return server, *await command(
                "replay", str(path), "--collector", f"127.0.0.1:{port}", "--speed", "50", "--json", "--quiet"
            )

    server, code, out, err = asyncio.run(scenario())
    assert (code, err) == (0, "")
    assert json.loads(out)["acked"] == 12
    assert server.hellos[0].node == "node7"
    times = [report.time_ms for batch in server.batches for report in batch.reports]
    assert times == list(range(times[0], times[0] + 60_000, 5_000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vendors", "acme"], "expected vendor=weight, the vendor one of nvidia"),
        (["--vendors", "nvidia=0"], "expected vendor=weight"),
        (["--tls-cert", "a.pem"], "need --tls-ca"),
        (["--tls-nodes", "nodes"], "need --tls-ca"),
        (["--tls-ca", "ca.pem", "--tls-cert", "a.pem"], "go together"),
        (["--tls-ca", "ca.pem", "--tls-cert", "a", "--tls-key", "a", "--tls-nodes", "nodes"], "which is meant"),
        (["--tls-ca", "/nonexistent/ca.pem", "--nodes", "1"], "/nonexistent/ca.pem: cannot be read"),
        (["replay", "/nonexistent.csv"], "/nonexistent.csv: cannot be read"),
    ],
)
def test_a_wrong_command_says_what_would_be_right(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--nodes", "0"], ["--interval", "100"], ["--duration", "0"], ["--speed", "2"], ["--nodes", "some"]]
)
def test_an_impossible_number_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_without_numpy_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError('No module named numpy', name='numpy')\n")

    async def scenario() -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fallow_sim.cli import main; sys.exit(main())",
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, "", err.decode()

    code, _, err = asyncio.run(scenario())
    assert code == 2
    assert "numpy is needed to simulate: pip install 'fallow[collector]'" in err
