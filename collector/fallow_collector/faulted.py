"""The one error of everything that dispatchers ask: a word for programs, a sentence for people."""

from collections.abc import Iterable

from fallow_proto.dispatch import Fault


class Faulted(Exception):
    """What was asked cannot be done, and nothing was. The message says what was found and what would help."""

    def __init__(self, fault: Fault, message: str, uuids: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.fault = fault
        self.uuids = list(uuids)
