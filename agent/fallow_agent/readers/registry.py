"""The list of readers. A new vendor is one file beside this one and one line here."""

from importlib import import_module
from typing import TYPE_CHECKING

from fallow_agent.readers.reader import Reader

if TYPE_CHECKING:  # names in strings hide from the type checker whether they are readers
    from fallow_agent.readers.ascend import AscendReader
    from fallow_agent.readers.host import HostReader
    from fallow_agent.readers.nvidia import NvidiaReader

    _CHECKED: tuple[type[Reader], ...] = (AscendReader, HostReader, NvidiaReader)

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
