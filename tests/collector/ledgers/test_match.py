import pytest

from fallow_collector.fleet.registry import Identity
from fallow_collector.ledgers.claim import Claim, Held
from fallow_collector.ledgers.match import FREE, LEASED, UNKNOWN, Device, match, pci

DEVICES = (
    Device(4, Identity(uuid="g0", index=1, minor=0, pci_bus_id="0000:17:00.0")),
    Device(5, Identity(uuid="g1", index=0, minor=1, pci_bus_id="0000:65:00.0")),
    Device(6, Identity(uuid="x", pci_bus_id="0000:b1:00.0")),
)
ALL_FREE = {4: FREE, 5: FREE, 6: FREE}


def claim(*held: Held, **more: object) -> Claim:
    return Claim("n1", 0.0, 100.0, held=held, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("held", "leased"), [
    (Held("job 1", uuid="g1"), 5),
    (Held("job 1", pci_bus_id="00000000:65:00.0"), 5),
    (Held("job 1", pci_bus_id="0000:B1:00.0"), 6),
    (Held("job 1", pci_bus_id="17:00.0"), 4),
    (Held("job 1", minor=1), 5),
    (Held("job 1", uuid="g1", pci_bus_id="00000000:65:00.0", minor=1), 5),
])
def test_a_job_s_device_is_found_by_uuid_pci_address_or_minor(held: Held, leased: int) -> None:
    assert match(claim(held), DEVICES)[:2] == (ALL_FREE | {leased: LEASED}, [])


@pytest.mark.parametrize("held", [
    Held("job 1", uuid="gone"), Held("job 1", minor=7), Held("job 1", pci_bus_id="0001:17:00.0"),
    Held("job 1", uuid="g0", minor=1),
])
def test_of_a_job_whose_device_is_not_there_each_device_that_is_not_taken_may_be_the_one(held: Held) -> None:
    matched = match(claim(Held("job 2", minor=0), held), DEVICES)
    assert matched.says == {4: LEASED, 5: UNKNOWN, 6: UNKNOWN}
    assert matched.unmatched == [f"n1 job 1 {held.device}"]


def test_only_the_named_minors_are_the_scheduler_s_and_a_device_without_one_may_be_among_them() -> None:
    assert match(claim(minors=frozenset({1})), DEVICES).says == {5: FREE, 6: FREE}
    assert match(claim(uuids=frozenset({"g0"})), DEVICES).says == {4: FREE}


def test_a_device_that_a_job_has_is_the_scheduler_s_whatever_it_says_that_it_owns() -> None:
    assert match(claim(Held("job 1", uuid="g0"), uuids=frozenset()), DEVICES).says == {4: LEASED}


def test_what_could_not_be_read_makes_every_device_unknown() -> None:
    unread = Claim("n1", 0.0, 100.0, problem="GresUsed is N/A")
    assert match(unread, DEVICES)[:2] == (dict.fromkeys(ALL_FREE, UNKNOWN), ["n1 * GresUsed is N/A"])


def test_a_partition_and_the_device_that_it_is_part_of_are_taken_together() -> None:
    devices = (
        Device(0, Identity(uuid="whole", minor=0, pci_bus_id="0000:17:00.0")),
        Device(1, Identity(uuid="part1", minor=0, pci_bus_id="0000:17:00.0", parent="whole")),
        Device(2, Identity(uuid="part2", minor=0, pci_bus_id="0000:17:00.0", parent="whole")),
    )
    assert match(claim(Held("pod", uuid="part1")), devices).says == {0: LEASED, 1: LEASED, 2: FREE}
    assert match(claim(Held("job", minor=0)), devices).says == {0: LEASED, 1: LEASED, 2: LEASED}


@pytest.mark.parametrize(("written", "means"), [
    ("00000000:17:00.0", "0000:17:00.0"), ("0000:17:00.0", "0000:17:00.0"), ("17:00.0", "0000:17:00.0"),
    ("00010000:C1:00.0", "10000:c1:00.0"), ("", ""),
])
def test_all_spellings_of_a_pci_address_are_one(written: str, means: str) -> None:
    assert pci(written) == means
