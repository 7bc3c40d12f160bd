"""Items into messages that gRPC sends."""

import pytest

from fallow_agent.uplink.batches import MAX_BYTES, MAX_EVENTS, events_of
from tests.agent.builders import event


@pytest.mark.parametrize("length", [0, 700, 2_500, MAX_BYTES])
def test_events_with_long_messages_go_in_more_messages_and_none_is_left_out(length: int) -> None:
    messages = list(events_of([event(seq, "ab"[seq // 700], message="x" * length) for seq in range(1_000)]))
    assert [each.seq for message in messages for each in message.events.events] == list(range(1_000))
    assert max(message.ByteSize() for message in messages) < 2 * MAX_BYTES
    assert max(len(message.events.events) for message in messages) <= MAX_EVENTS
    assert {message.events.epoch for message in messages} == {"a", "b"}
