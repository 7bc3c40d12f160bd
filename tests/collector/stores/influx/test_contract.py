"""The contract of every store, kept by InfluxStore in front of a real VictoriaMetrics."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.store import Batch, Store
from tests.collector.stores.contract import START, Reopen, StoreContract, ask, batch, rows, seconds
from tests.collector.stores.influx.servers import RealServer
from tests.collector.stores.influx.steered import SteeredStore

SETTLED = 16.0  # a second more than VictoriaMetrics is given by default


@pytest.mark.server("victoria-metrics")
class TestInfluxStore(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path, victoria: RealServer) -> Iterator[Reopen]:
        self.url = victoria.url
        stores: list[SteeredStore] = []

        def again() -> tuple[Store, dict]:  # type: ignore[type-arg]
            for store in stores:
                store.close()
            stores[:] = [SteeredStore(InfluxSettings(url=victoria.url, query="promql"), tmp_path / "ledger.sqlite")]
            committed = stores[0].open()
            return stores[0], {source: list(ranges) for source, ranges in committed.items()}

        yield again
        for store in stores:
            with suppress(Exception):
                store.close()

    def commit(self, store: Store, *batches: Batch) -> None:
        for one in batches:
            store.write(one, START)
        outcome = store.poll(START + SETTLED)
        assert not outcome.resend
        httpx.get(f"{self.url}/internal/force_flush", trust_env=False).raise_for_status()

    def test_rows_come_back_as_they_were_before_and_after_reopening(self, reopen: Reopen) -> None:
        """VictoriaMetrics keeps some 12 digits; the contract's counters have 13."""
        store, _ = reopen()
        self.commit(store, batch(rows(
            [1, 2, 3.25], {"power_watts": [0.1, 71.5, 350.25]}, {"energy_joules_total": [1e9 + 0.125, 1e9 + 0.25, 2e9]}
        )))
        for reader in (store, None):
            table = (reader or reopen()[0]).history(ask("energy_joules_total", "power_watts"))
            assert seconds(table) == [1, 2, 3.25]
            assert table.values[:, 0] == pytest.approx([1e9 + 0.125, 1e9 + 0.25, 2e9], rel=1e-11)
            assert np.array_equal(table.values[:, 1].astype(np.float32), np.array([0.1, 71.5, 350.25], np.float32))
