"""What the collector's parts are made from, out of its settings."""

from pathlib import Path

from fallow_collector.alerts.rule import RuleError
from fallow_collector.alerts.rulefile import RuleSet
from fallow_collector.alerts.rulefile import load as load_alert_rules
from fallow_collector.config import Settings
from fallow_collector.health.rules import Rules, RulesError, load, shipped
from fallow_collector.ingest.session import Terms
from fallow_collector.stores.embedded import EmbeddedStore
from fallow_collector.stores.store import Store
from fallow_proto.settings import SettingsError
from fallow_proto.v1 import telemetry_pb2 as pb


def make_store(settings: Settings) -> Store:
    folder = Path(settings.state.dir)
    if settings.store.kind == "influx":
        from fallow_collector.stores.influx.store import InfluxStore  # 18 MiB that the embedded store does not need

        return InfluxStore(settings.store.influx, folder / "influx.sqlite")
    return EmbeddedStore(folder / "store", settings.store.embedded)


def rules_of(settings: Settings) -> Rules:
    """Raises SettingsError."""
    try:
        return load(Path(settings.health.rules)) if settings.health.rules else shipped()
    except RulesError as error:
        raise SettingsError(f"[health] rules: {error}") from error


def alert_rules_of(settings: Settings) -> RuleSet:
    """Raises SettingsError, with a line for each fault."""
    try:
        return load_alert_rules([Path(name) for name in settings.alerts.rules], settings.alerts.builtin)
    except RuleError as error:
        raise SettingsError(f"[alerts] rules: {error}") from error


def terms_of(settings: Settings, version: str) -> Terms:
    holders = tuple(
        pb.Holder(command=holder.command, user=holder.user, max_memory_bytes=holder.max_memory_bytes)
        for holder in settings.idle.holders
    )
    return Terms(version, settings.idle.evidence_s, holders)

