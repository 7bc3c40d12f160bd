"""Files that the configuration names and that lie outside the state folder: a backup leaves them to whoever keeps the
configuration, and says which they are."""

from collections.abc import Iterator
from pathlib import Path

from fallow_collector.config import Settings


def outside(settings: Settings) -> list[Path]:
    """Those that are there."""
    state = Path(settings.state.dir).absolute()
    found = {Path(name).absolute() for name in _named(settings) if name}
    return sorted(path for path in found if path.exists() and not path.is_relative_to(state))


def _named(settings: Settings) -> Iterator[str]:
    tls = settings.tls
    yield from (tls.cert, tls.key, tls.client_ca, settings.auth.tokens_file, settings.inventory.file)
    yield from (settings.health.rules, *settings.alerts.rules, settings.store.influx.token_file)
    for receiver in settings.alerts.receivers:
        yield from (receiver.url_file, receiver.secret_file, receiver.token_file)
