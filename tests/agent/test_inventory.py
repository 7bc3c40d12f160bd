"""What a Hello says of devices and readers."""

from fallow_agent.inventory import device_message, reader_message
from fallow_agent.readers.reader import DeviceIdentity
from fallow_agent.readers.status import State, Status
from fallow_proto.v1 import telemetry_pb2 as pb


def test_every_field_of_an_identity_is_on_the_wire() -> None:
    device = DeviceIdentity(
        uuid="GPU-1", vendor="acme", model="One", index=3, device_class="intelligent", minor=4,
        pci_bus_id="0000:17:00.0", parent="GPU-0", partition_profile="1g.10gb", serial="s", driver_version="1.2",
        unsupported=frozenset({"power_watts", "energy_joules_total"}), conditions=("compute_prohibited",), mode="mig=1",
    )
    message = device_message("acme", device)
    for name in set(DeviceIdentity.__slots__) - {"place"}:  # where events are of; it stays on the node
        value = getattr(message, name)
        assert (sorted(value) if name in ("unsupported", "conditions") else value) == (
            sorted(getattr(device, name)) if name in ("unsupported", "conditions") else getattr(device, name)
        ), name
    assert message.reader == "acme"


def test_a_device_node_number_that_is_not_known_is_not_zero() -> None:
    assert not device_message("host", DeviceIdentity("cpu-1", "intel", "Xeon", 0)).HasField("minor")


def test_a_readers_state_is_told_in_the_words_of_the_wire() -> None:
    status = Status("nvidia", State.STUCK, 12.5, "no answer for 5 s", pb.REASON_STUCK)
    assert reader_message(status, 1_700_000_000_000) == pb.Reader(
        name="nvidia", state="stuck", since_ms=1_700_000_000_000, message="no answer for 5 s"
    )
