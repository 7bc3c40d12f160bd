"""Names of hosts' CPUs."""

import pytest

from fallow_agent.readers.host_identity import uuid_of, vendor_and_model

MACHINE_ID = "3d1219c7c4c5404aaa1f6d2a48adfda4"


def test_a_hosts_name_lasts_and_does_not_give_the_machine_id_away() -> None:
    name = uuid_of(MACHINE_ID + "\n", "node-7")
    assert name == uuid_of(MACHINE_ID, "renamed")
    assert name.startswith("cpu-")
    assert len(name) == 36
    assert MACHINE_ID not in name
    assert name != uuid_of(MACHINE_ID[::-1], "node-7")


@pytest.mark.parametrize("machine_id", ["", "\n", "uninitialized\n"])
def test_without_a_machine_id_the_nodes_name_stands_for_it(machine_id: str) -> None:
    assert uuid_of(machine_id, "node-7") == uuid_of("", "node-7")
    assert uuid_of(machine_id, "node-7") != uuid_of(machine_id, "node-8")


@pytest.mark.parametrize(
    ("cpuinfo", "vendor", "model"),
    [
        ("vendor_id\t: CentaurHauls\nmodel name\t: ZHAOXIN KH-40000\n", "zhaoxin", "ZHAOXIN KH-40000"),
        ("vendor_id\t:   Shanghai  \nmodel name\t: KX-6000\n", "zhaoxin", "KX-6000"),
        ("CPU implementer\t: 0x70\nCPU part\t: 0x663\n", "phytium", "CPU part 0x663"),
        ("model name\t: Neoverse-V2\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n", "arm", "Neoverse-V2"),
        ("CPU implementer\t: 0x99\nCPU part\t: 0x001\n", "arm-0x99", "CPU part 0x001"),
        ("system type\t: generic-loongson-machine\nModel Name\t: Loongson-3C5000\n", "loongson", "Loongson-3C5000"),
        ("processor\t: 0\ncpu\t\t: POWER9, altivec supported\n", "ibm", "POWER9, altivec supported"),
        ("processor\t: 0\nhart\t: 1\nuarch\t: sifive,u74-mc\n", "unknown", "sifive,u74-mc"),
        ("", "unknown", "unknown"),
    ],
)
def test_vendor_and_model_are_what_the_kernel_says(cpuinfo: str, vendor: str, model: str) -> None:
    assert vendor_and_model(cpuinfo) == (vendor, model)
