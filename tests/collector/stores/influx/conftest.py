from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from fallow_collector.stores.influx.settings import InfluxSettings
from tests.collector.stores.influx.fake import FakeInflux, serving
from tests.collector.stores.influx.servers import RealServer, influxd, victoria_metrics
from tests.collector.stores.influx.shim import TOKEN, shim
from tests.collector.stores.influx.steered import SteeredStore

OpenStore = Callable[..., SteeredStore]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return path


@pytest.fixture
def open_store(tmp_path: Path, token_file: Path) -> Iterator[OpenStore]:
    """Opens stores on a URL, all on one ledger; they are closed behind the test."""
    opened: list[SteeredStore] = []

    def open_(url: str, timeout_s: float = 10.0, **settings: object) -> SteeredStore:
        given = {"url": url, "org": "org", "bucket": "fallow", "token_file": str(token_file), **settings}
        store = SteeredStore(InfluxSettings(**given), tmp_path / "state" / "influx.db", timeout_s)  # type: ignore[arg-type]
        opened.append(store)
        store.open()
        return store

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    with serving() as server:
        yield server


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[RealServer]:
    server = victoria_metrics(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def influx_engine(tmp_path: Path) -> Iterator[RealServer]:
    """InfluxDB 1.6.7 with a database `fallow`."""
    server = influxd(tmp_path)
    server.start()
    httpx.post(f"{server.url}/query", params={"q": "CREATE DATABASE fallow"}, trust_env=False).raise_for_status()
    yield server
    server.stop()


@pytest.fixture
def influx_url(influx_engine: RealServer) -> Iterator[str]:
    """The same behind the InfluxDB 2 write API."""
    with shim(influx_engine.url) as url:
        yield url
