"""Sets of sequence numbers against Python's own sets."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallow_proto.ranges import RangeSet

PAIRS = st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def numbers(pairs: list[tuple[int, int]]) -> set[int]:
    return {n for lo, hi in pairs for n in range(lo, hi + 1)}


@given(st.lists(st.tuples(st.booleans(), PAIRS), max_size=30), PAIRS)
def test_a_range_set_is_a_set_of_integers_in_few_pieces(
    steps: list[tuple[bool, tuple[int, int]]], span: tuple[int, int]
) -> None:
    ranges, model = RangeSet(), set[int]()
    for adds, pair in steps:
        if adds:
            ranges.add(*pair)
            model |= numbers([pair])
        else:
            ranges.remove(*pair)
            model -= numbers([pair])
    pieces = list(ranges)
    assert numbers(pieces) == model
    assert len(ranges) == len(model)
    assert bool(ranges) == bool(model)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(pieces))
    assert numbers(list(ranges.missing(*span))) == numbers([span]) - model
    assert all((n in ranges) == (n in model) for n in range(75))
    assert RangeSet(pieces) == ranges


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"range 5\.\.4 is empty"):
        RangeSet([(5, 4)])
