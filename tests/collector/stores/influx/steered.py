"""A store whose clocks, the wall clock and the one that nobody sets, stand where each call says."""

from pathlib import Path

from fallow_collector.stores.influx.settings import InfluxSettings
from fallow_collector.stores.influx.store import InfluxStore
from fallow_collector.stores.store import Batch, Outcome


class SteeredStore(InfluxStore):
    """set_by: by how many seconds the wall clock was set since."""

    def __init__(self, settings: InfluxSettings, ledger_path: Path, timeout_s: float = 30.0) -> None:
        self.set_by = self._at = 0.0
        super().__init__(settings, ledger_path, timeout_s, lambda: self._at)

    def write(self, batch: Batch, now: float) -> Outcome:
        self._at = now
        return super().write(batch, now + self.set_by)

    def poll(self, now: float) -> Outcome:
        self._at = now
        return super().poll(now + self.set_by)
