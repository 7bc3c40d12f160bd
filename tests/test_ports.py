"""Ports that tests are given."""

from tests.ports import END, FIRST, WORKERS, free_port


def test_no_port_is_handed_out_again_before_hundreds_of_others() -> None:
    many = (END - FIRST) // WORKERS // 2
    assert len({free_port() for _ in range(many)}) == many
