"""Whom a node that enrols asks, and whom not."""

import pytest

from fallow_agent.enrolment.server import Server
from fallow_agent.errors import EnrolmentError


@pytest.mark.parametrize("url", [
    "", "collector", "collector:4918", "ftp://collector", "https://", "https://collector:99999", "https://collector:x",
    "https://[::1", "https://a b", "https://collector/api", "https://collector?x=1",
])
def test_what_is_no_address_of_a_collector_is_told(url: str) -> None:
    with pytest.raises(EnrolmentError, match="expected such as https://"):
        Server(url, "")


def test_no_token_goes_to_another_machine_in_plain_text() -> None:
    with pytest.raises(EnrolmentError, match="anybody on the way could read the token; expected https://"):
        Server("http://10.0.0.1:4918", "")
    for near in ("http://127.0.0.1:4918", "http://[::1]:4918", "http://localhost:4918", "https://10.0.0.1"):
        Server(near, "")
