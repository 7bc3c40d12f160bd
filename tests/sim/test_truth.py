"""A real collector's answers held against what the simulator knows."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx

from tests.ports import free_port

RUN_S = 12
STALE_S = 1.0
SLACK_S = 2.0  # a reading on its way, on a busy machine


@contextmanager
def running(module: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    code = f"import sys; from {module}.cli import main; sys.exit(main())"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=file, stderr=file)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the collector did not start: {log.read_text()}")


def offers(url: str, sim: subprocess.Popen[bytes]) -> Iterator[tuple[float, set[str]]]:
    """(unix seconds, uuids of idle devices) as long as the simulator runs."""
    with httpx.Client(base_url=url, timeout=30) as client:
        while sim.poll() is None:
            page = client.get("/api/v1/devices", params={"phase": "idle", "limit": 1000}).json()
            assert page["next"] is None
            yield datetime.fromisoformat(page["as_of"]).timestamp(), {item["uuid"] for item in page["items"]}
            time.sleep(0.1)  # not to starve those who are asked about


def test_a_device_that_works_or_holds_memory_is_never_idle_and_free_ones_are(tmp_path: Path) -> None:
    grpc, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config, log, truth = tmp_path / "collector.toml", tmp_path / "collector.log", tmp_path / "truth.jsonl"
    config.write_text(
        f'grpc.listen = "{grpc}"\nhttp.listen = "{http}"\nstate.dir = "{tmp_path / "state"}"\n'
        f"idle.confirm_s = 2\nidle.evidence_s = 4\nidle.stale_s = {STALE_S}\nidle.lost_s = 5\n"
    )
    arguments = [
        "--collector", grpc, "--nodes", "60", "--devices", "4", "--interval", "0.25", "--duration", str(RUN_S),
        "--truth", str(truth), "--quiet",
    ]
    with running("fallow_collector", "--config", str(config), log=log) as collector:
        until_ready(f"http://{http}", collector, log)
        with running("fallow_sim", *arguments, log=tmp_path / "sim.log") as sim:
            offered = list(offers(f"http://{http}", sim))
        assert sim.returncode == 0, (tmp_path / "sim.log").read_text()

    free: dict[str, list[tuple[float, float]]] = {}
    for line in truth.read_text().splitlines():
        stretch = json.loads(line)
        free.setdefault(stretch["uuid"], []).append((stretch["free_from"], stretch["free_to"]))
    wrong = [
        (at, uuid)
        for at, uuids in offered
        for uuid in uuids
        if not any(begin <= at and end >= at - STALE_S - SLACK_S for begin, end in free.get(uuid, []))
    ]
    assert wrong == []
    assert 0 < max(len(uuids) for _, uuids in offered) <= len(free)
