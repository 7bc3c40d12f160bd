"""The agent stays light: what its command imports, and what it does not."""

import subprocess
import sys

HEAVY = ("numpy", "pyarrow", "duckdb", "litestar", "httpx", "rich", "cryptography", "influxdb_client", "uvicorn")


def imported_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_command_imports_neither_the_collectors_libraries_nor_grpc() -> None:
    assert not imported_by("import fallow_agent.cli") & {*HEAVY, "grpc"}


def test_the_running_agent_imports_none_of_the_collectors_libraries() -> None:
    modules = imported_by("import fallow_agent.app, fallow_agent.doctor, fallow_agent.once")
    assert "grpc" in modules
    assert not modules & set(HEAVY)
