import pytest

from fallow_proto.slurm.ranges import expand, numbers


@pytest.mark.parametrize(("text", "names"), [
    ("a", ["a"]), ("n[0-2,5]", ["n0", "n1", "n2", "n5"]), ("n[08-10]x", ["n08x", "n09x", "n10x"]),
    ("a[0-1]b[2-3],c", ["a0b2", "a0b3", "a1b2", "a1b3", "c"]), ("", []),
    ("/dev/nvidia[0-1],/dev/nvidia7", ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia7"]),
])
def test_lists_are_expanded_in_their_order(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize("text", ["n[0-", "n[a-b]", "n[3-1]", "n[0-99999999]", "n0]", "n[0-999]x[0-999]"])
def test_lists_that_cannot_be_read_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        expand(text)


@pytest.mark.parametrize(("text", "found"), [("0", [0]), ("0,1,4-7", [0, 1, 4, 5, 6, 7]), ("10", [10])])
def test_numbers_are_single_ones_and_spans(text: str, found: list[int]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize("text", ["", "GPU-1", "1,,2", "a-b", "0,"])
def test_numbers_that_make_no_sense_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        numbers(text)
