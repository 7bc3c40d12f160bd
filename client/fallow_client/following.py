"""What to ask for next when a watch breaks off, and what came of it. Pure: `now` is monotonic seconds."""

import random

import msgspec

from fallow_client.errors import FallowError, Malformed, Refused, Unreachable
from fallow_client.sse import Decoder
from fallow_proto.dispatch import Change

SILENCE_S = 30.0  # three bookmarks
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
PASSING = range(500, 600)  # refusals that are about the moment, not about the question


class Cut(msgspec.Struct, kw_only=True, frozen=True):
    """The watch broke off. What was seen before may be out of date until the next change or bookmark comes."""

    kind: str = "cut"
    error: str
    retry_in_s: float
    lists_again: bool  # forget what was seen: a new list follows


Event = Change | Cut


class Following:
    """Where a watch stands.

    It resumes after the last event that had an id. The collector gives one to the last change of a revision and to
    bookmarks only, so a revision or a list that a cut went through comes again.
    """

    def __init__(self) -> None:
        self.resume = ""  # "epoch:revision"; empty: list first
        self._decoder = Decoder()
        self._heard_at = 0.0
        self._failures = 0

    def connected(self, now: float) -> None:
        self._decoder = Decoder()
        self._heard_at = now

    def feed(self, chunk: bytes, now: float) -> list[Change]:
        """The changes that these bytes complete. Raises Malformed, and Unreachable after too long without any."""
        events = self._decoder.feed(chunk)
        if events:
            self._heard_at = now
            self._failures = 0
        elif now - self._heard_at > SILENCE_S:
            raise Unreachable(f"the watch has been silent for {SILENCE_S:.0f} s; expected a bookmark every 10 s")
        changes = []
        for event in events:
            if event.id is not None:
                self.resume = event.id
            changes.append(_change(event.data))
        return changes

    def broken(self, error: FallowError) -> Cut:
        """How long to wait before asking again. Raises what asking again does not help."""
        if isinstance(error, Malformed) or (isinstance(error, Refused) and error.status not in PASSING):
            raise error
        longest = min(FIRST_WAIT_S * 2**self._failures, LONGEST_WAIT_S)
        self._failures = min(self._failures + 1, 10)
        wait_s = random.uniform(longest / 2, longest)  # not all watchers at once
        return Cut(error=str(error), retry_in_s=wait_s, lists_again=not self.resume)


def _change(data: bytes) -> Change:
    try:
        return msgspec.json.decode(data, type=Change)
    except msgspec.DecodeError as error:
        raise Malformed(
            f"an event of the watch is not of this version's shape: {error}; "
            f"is this a collector, and of the same version as the client?"
        ) from error
