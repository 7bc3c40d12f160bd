"""The embedded store, for what one machine can hold."""

from .settings import EmbeddedSettings
from .store import EmbeddedStore

__all__ = ["EmbeddedSettings", "EmbeddedStore"]
