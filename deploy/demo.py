"""A look at Fallow: a collector, an agent of this very machine and a small simulated fleet, until Ctrl-C.

Run it with `make demo`. Everything it writes is in a folder of its own that goes when it ends.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import httpx

BIN = Path(sys.executable).parent
NODES, DEVICES = 6, 8
CONFIRM_S = 10  # a visitor does not wait for the usual minute
PRESSURE_RATIO = 0.9  # the demo itself makes tasks wait on a small machine, and pressure is an average of a minute
TABLE_S = 5.0
READY_S = 90.0
STOP_S = 30.0
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAST_LINES = 15


class Died(Exception):
    """A program of the demo has ended by itself, or never got ready; the message has its last words."""


class Program:
    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [BIN / name, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its programs in order
            )

    def check(self) -> None:
        """Raises Died unless it runs."""
        if (status := self._process.poll()) is not None:
            raise Died(f"{self.name} has ended with status {status}. Its last lines:\n{self.last_lines()}")

    def last_lines(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines) or "  (none)"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            say(f"{self.name} has not ended within {STOP_S:.0f} s and is killed")
            self._process.kill()
            self._process.wait()


def main() -> int:
    options = parser().parse_args()
    for number in ENDS:
        signal.signal(number, interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="fallow-demo-") as folder, fleet(Path(folder)) as (url, programs):
            until = time.monotonic() + options.seconds if options.seconds else float("inf")
            show(url, programs, until)
    except KeyboardInterrupt:
        return 0
    except Died as died:
        say(f"\n{died}")
        return 1
    finally:
        say("stopped")
    return 0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whoever wants to end the demo waits for the end of the block: a program half started would be left behind."""
    came: list[int] = []
    for number in ENDS:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number in ENDS:
            signal.signal(number, interrupt)
    if came:
        raise KeyboardInterrupt


@contextmanager
def fleet(folder: Path) -> Iterator[tuple[str, list[Program]]]:
    """All programs, running, and the collector's URL. They end in the order in which data flows."""
    grpc, http = (f"127.0.0.1:{port}" for port in ports())
    url = f"http://{http}"
    with ExitStack() as running:
        def start(name: str, *arguments: str) -> Program:
            with undisturbed():
                program = Program(name, folder, *arguments)
                running.callback(program.stop)
            return program

        say("starting the collector …")
        collector = start("fallow-collector", "--config", configure(folder / "collector.toml", f"""
            site = "demo"
            grpc.listen = "{grpc}"
            http.listen = "{http}"
            state.dir = "{folder / 'collector'}"
            idle.confirm_s = {CONFIRM_S}
            idle.host_pressure_ratio = {PRESSURE_RATIO}
        """))
        wait_until_ready(collector, url)
        (folder / "run").mkdir()
        agent = start("fallow-agent", "--config", configure(folder / "agent.toml", f"""
            site = "demo"
            collector = "{grpc}"
            spool.dir = "{folder / 'agent'}"
            readers.run_dir = "{folder / 'run'}"
        """))
        sim = start(
            "fallow-sim", "--collector", grpc, "--site", "demo", "--nodes", str(NODES), "--devices", str(DEVICES),
            "--vendors", "nvidia=4,ascend=1,metax=1", "--quiet",
        )
        yield url, [collector, agent, sim]


def show(url: str, programs: Sequence[Program], until: float) -> None:
    """The capacity table, again and again. Raises Died."""
    say(heading(url))
    while time.monotonic() < until:
        for program in programs:
            program.check()
        table = subprocess.run(
            [BIN / "fallow", "capacity"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**environment(), "FALLOW_URL": url, "COLUMNS": str(shutil.get_terminal_size((120, 40)).columns)},
            text=True, check=False,
        ).stdout
        # On a terminal the table stays where it is; elsewhere one follows the other.
        say(f"\x1b[H\x1b[J{heading(url)}\n{table}" if sys.stdout.isatty() else table)
        time.sleep(max(0.0, min(TABLE_S, until - time.monotonic())))


def heading(url: str) -> str:
    return f"""\
Fallow watches this machine, {socket.gethostname()}, and {NODES} simulated nodes with {DEVICES} accelerators each.
The API is at {url} and described at {url}/openapi.json, the metrics are at {url}/metrics.

A device is idle once it was quiet for {CONFIRM_S} s here, instead of the usual 60, and waiting tasks
do not count against this machine's CPUs. Try, in another terminal:
  export FALLOW_URL={url} PATH={BIN}:$PATH
  fallow top                                  every device, live
  fallow devices --phase idle                 which ones are free
  fallow explain cpu                          why this machine's CPUs are idle, or are not
  for i in 1 2; do timeout 30 yes >/dev/null & done    and see them taken, and given back
  fallow reserve --count 2 --same node        two of the idle ones are yours for 5 minutes

Ctrl-C ends it.
"""


def wait_until_ready(collector: Program, url: str) -> None:
    """Raises Died."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        collector.check()
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise Died(f"{collector.name} is not ready after {READY_S:.0f} s. Its last lines:\n{collector.last_lines()}")


def ports() -> Iterator[int]:
    """The usual ports for agents and for people, or free ones where they are taken."""
    for usual in (4917, 4918):
        port = usual if is_free(usual) else free_port()
        if port != usual:
            say(f"port {usual} is taken on this machine, {port} is used")
        yield port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configure(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def environment() -> dict[str, str]:
    """Without settings that are meant for a real installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FALLOW_")}


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="make demo", description=__doc__)
    made.add_argument("--seconds", type=float, metavar="N", help="end by itself after so long")
    return made


if __name__ == "__main__":
    sys.exit(main())
