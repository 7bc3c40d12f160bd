"""Fencing tokens: one integer a lease, above every one that was issued or heard of before.

A token is at least the wall clock's milliseconds, so tokens rise even when the file that held the last one is lost.
"""

from fallow_proto.dispatch import TOKEN_LIMIT

BELIEVED = TOKEN_LIMIT // 2
"""What a node reports at or above it is a defect of that node: no clock reaches it for 100,000 years, and to rise above
it would use up the tokens of the whole fleet."""


class Tokens:
    """wall: unix seconds at the start; a clock that is set back after it lowers nothing."""

    def __init__(self, last: int = 0, wall: float = 0.0) -> None:
        self.last = max(last, int(wall * 1000))

    def issue(self, wall: float) -> int:
        """The token of a new lease. wall: unix seconds."""
        self.last = max(self.last + 1, int(wall * 1000))
        if self.last >= TOKEN_LIMIT:
            raise OverflowError(f"fencing token {self.last} is not below {TOKEN_LIMIT}; set this machine's clock")
        return self.last

    def heard(self, token: int) -> None:
        """A node keeps this one: those to come are above it."""
        if token < BELIEVED:
            self.last = max(self.last, token)
