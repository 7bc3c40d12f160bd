"""The checker of the leases' histories finds what it is there to find, and nothing else."""

from math import inf

import pytest

from tests.faults.leases.checker import Step, stuck_at
from tests.faults.leases.register import Kind

K = Kind


def at(when: float, kind: Kind, token: int = 0) -> Step:
    return Step(when, when + 0.5, kind, token)


def maybe(when: float, kind: Kind, token: int = 0) -> Step:
    return Step(when, inf, kind, token, must=False)


GOOD = {
    "nothing": [],
    "one after the other": [at(1, K.LEASED, 1), at(2, K.RELEASED, 1), at(3, K.SEEN_FREE), at(4, K.LEASED, 2)],
    "held, then leased": [at(1, K.RESERVED, 1), at(2, K.SEEN_RESERVED, 1), at(3, K.COMMITTED, 1), at(4, K.KEPT, 1)],
    "told late that it was given": [Step(1, 9, K.LEASED, 1), at(2, K.SEEN_FREE), at(3, K.SEEN_LEASED, 1)],
    "told late that it was given back": [
        at(1, K.LEASED, 1), Step(2, 9, K.RELEASED, 1), at(3, K.SEEN_LEASED, 1), at(4, K.LEASED, 2),
    ],
    "expired and given to the next": [at(1, K.LEASED, 1), maybe(3, K.EXPIRED, 1), at(3, K.LEASED, 2)],
    "its end may not come at all": [at(1, K.LEASED, 1), maybe(3, K.EXPIRED, 1), at(5, K.KEPT, 1)],
    "a release without an answer happened": [at(1, K.LEASED, 1), maybe(2, K.RELEASED, 1), at(3, K.LEASED, 2)],
    "a release without an answer did not happen": [at(1, K.LEASED, 1), maybe(2, K.RELEASED, 1), at(3, K.KEPT, 1)],
    "a reservation without an answer is shown": [maybe(1, K.LEASED, 1), at(2, K.SEEN_LEASED, 1)],
    "two at once, of which the one with the lower token was first": [
        Step(1, 9, K.LEASED, 2), Step(1, 9, K.LEASED, 1), Step(1, 9, K.RELEASED, 1),
    ],
    "refused after the end": [at(1, K.LEASED, 1), maybe(3, K.EXPIRED, 1), at(4, K.REFUSED_AS_ENDED, 1)],
    "given back once more with others": [
        at(1, K.LEASED, 1), at(2, K.RELEASED_WITH_OTHERS, 1), at(3, K.LEASED, 2), at(4, K.RELEASED_WITH_OTHERS, 1),
        at(5, K.KEPT, 2),
    ],
}

BAD = {
    "granted twice": [at(1, K.LEASED, 1), at(2, K.LEASED, 2)],
    "granted twice at once": [Step(1, 5, K.LEASED, 1), Step(1, 5, K.LEASED, 2), at(6, K.KEPT, 1)],
    "granted before it ran out": [at(1, K.LEASED, 1), maybe(5, K.EXPIRED, 1), at(3, K.LEASED, 2)],
    "a stale read of its owner": [
        at(1, K.LEASED, 1), at(2, K.RELEASED, 1), at(3, K.LEASED, 2), at(4, K.SEEN_LEASED, 1),
    ],
    "a stale read that it is free": [at(1, K.LEASED, 1), at(2, K.SEEN_FREE)],
    "a read of what is not yet": [at(1, K.SEEN_LEASED, 1), at(2, K.LEASED, 1)],
    "a commit that is not seen": [at(1, K.RESERVED, 1), at(2, K.COMMITTED, 1), at(3, K.SEEN_RESERVED, 1)],
    "risen from its end": [at(1, K.LEASED, 1), maybe(3, K.EXPIRED, 1), at(4, K.REFUSED_AS_ENDED, 1), at(5, K.KEPT, 1)],
    "shown again after its end": [
        at(1, K.LEASED, 1), maybe(3, K.EXPIRED, 1), at(4, K.SEEN_RELEASING, 1), at(5, K.SEEN_LEASED, 1),
    ],
    "theirs after they gave it back": [at(1, K.LEASED, 1), at(2, K.RELEASED, 1), at(3, K.KEPT, 1)],
    "renewed after the next has it": [
        at(1, K.LEASED, 1), maybe(2, K.EXPIRED, 1), at(3, K.LEASED, 2), at(4, K.KEPT, 1),
    ],
    "refused as ended before its time": [at(1, K.LEASED, 1), maybe(5, K.EXPIRED, 1), at(3, K.REFUSED_AS_ENDED, 1)],
    "a token that does not rise": [at(1, K.LEASED, 2), at(2, K.RELEASED, 2), at(3, K.LEASED, 1)],
    "a token that comes again": [at(1, K.LEASED, 2), at(2, K.RELEASED, 2), at(3, K.LEASED, 2)],
    "a grant that was lost": [at(1, K.LEASED, 1), at(2, K.LEASED, 2), at(3, K.KEPT, 2)],
    "a reservation without an answer that shows and is gone": [
        maybe(1, K.LEASED, 1), at(2, K.SEEN_LEASED, 1), at(3, K.SEEN_FREE),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_history_that_some_order_explains_is_linearizable(history: list[Step]) -> None:
    assert stuck_at(history) == []


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_a_history_that_no_order_explains_is_not_linearizable(history: list[Step]) -> None:
    assert stuck_at(history) != []


def test_where_it_is_stuck_is_told() -> None:
    assert [str(step) for step in stuck_at([at(1, K.LEASED, 1), at(2, K.RELEASED, 1), at(3, K.SEEN_LEASED, 1)])] == [
        "seen leased 1 [3.000, 3.500]"
    ]


def test_a_long_history_of_many_who_ask_at_once_is_searched_to_its_end() -> None:
    history = []
    for token in range(1, 500):
        history += [Step(token, token + 40, K.LEASED, token), Step(token + 0.1, token + 41, K.RELEASED, token)]
    assert stuck_at(history) == []
    assert stuck_at([*history, at(600, K.SEEN_LEASED, 3)]) != []
