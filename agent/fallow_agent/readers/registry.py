"""The list of readers. A new vendor is one file beside this one and one line here."""

from importlib import import_module

from fallow_agent.readers.reader import Reader

READERS: dict[str, str] = {
    "nvidia": "fallow_agent.readers.nvidia:NvidiaReader",
    "ascend": "fallow_agent.readers.ascend:AscendReader",
    "host": "fallow_agent.readers.host:HostReader",
}
"""Name on the wire and in the configuration -> module and class, imported only in the reader's own process."""

VENDORS = tuple(name for name in READERS if name != "host")
"""Those that load a vendor's library and open its devices."""


def build(target: str) -> Reader:
    """A reader from "module:Class". Raises ImportError or AttributeError when there is no such thing."""
    module, _, attribute = target.partition(":")
    reader: Reader = getattr(import_module(module), attribute)()
    return reader
