"""What every reader promises (fallow_agent.readers.reader), as tests.

A vendor's test file subclasses ReaderContract and gives a fixture `reader`: a Reader, not yet opened, with at least
one device that answers.
"""

from fallow_agent.readers.reader import Reader
from fallow_proto.metrics import BY_NAME, METRICS, Group
from fallow_proto.states import Condition, DeviceClass
from fallow_proto.v1.telemetry_pb2 import Reason


class ReaderContract:
    def test_devices_are_named_once_and_in_the_words_of_the_wire(self, reader: Reader) -> None:
        devices = reader.open()
        assert devices
        assert len({device.uuid for device in devices}) == len(devices)
        for device in devices:
            assert device.uuid
            assert device.model
            assert device.vendor == device.vendor.lower() != ""
            assert device.device_class in set(DeviceClass)
            assert device.pci_bus_id == device.pci_bus_id.lower()
            assert set(device.conditions) <= set(Condition)

    def test_what_is_unsupported_is_a_metric_that_the_reader_may_give(self, reader: Reader) -> None:
        given = {name for group in Group for name in reader.columns(group)}
        for device in reader.open():
            assert device.unsupported <= given

    def test_columns_are_metrics_of_their_group_in_the_order_of_the_table(self, reader: Reader) -> None:
        for group in Group:
            names = [metric.name for metric in METRICS if metric.group is group]
            columns = list(reader.columns(group))
            assert columns == [name for name in names if name in columns]

    def test_there_is_one_reading_a_device_in_the_order_of_open(self, reader: Reader) -> None:
        uuids = [device.uuid for device in reader.open()]
        for group in Group:
            assert [reading.uuid for reading in reader.read(group)] == uuids

    def test_values_are_columns_of_the_group_within_their_limits(self, reader: Reader) -> None:
        reader.open()
        for group in Group:
            for reading in reader.read(group):
                assert set(reading.values) <= set(reader.columns(group))
                for name, value in reading.values.items():
                    assert BY_NAME[name].low <= value <= BY_NAME[name].high, name

    def test_a_device_that_answers_gives_no_value_that_it_declares_unsupported(self, reader: Reader) -> None:
        unsupported = {device.uuid: device.unsupported for device in reader.open()}
        for group in Group:
            for reading in reader.read(group):
                assert unsupported[reading.uuid].isdisjoint(reading.values)

    def test_without_a_reason_there_are_values_and_with_one_there_are_none(self, reader: Reader) -> None:
        reader.open()
        for reading in reader.read(Group.FAST):
            assert bool(reading.values) == (reading.reason == Reason.REASON_OK)

    def test_nothing_has_changed_since_open(self, reader: Reader) -> None:
        reader.open()
        assert not reader.changed()

    def test_a_closed_reader_opens_again_with_the_same_devices(self, reader: Reader) -> None:
        before = reader.open()
        reader.close()
        assert reader.open() == before

    def test_closing_twice_is_closing_once(self, reader: Reader) -> None:
        reader.open()
        reader.close()
        reader.close()
