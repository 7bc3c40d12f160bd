"""Every row of NVIDIA's tables for links is met by a line as drivers print it, and no line means nothing."""

import pytest

from fallow_collector.health import nvlink4, nvlink5
from fallow_collector.health.happening import happening
from fallow_collector.health.meaning import Meaning
from fallow_collector.health.words import Action, Role, Severity
from tests.collector.health.told import HOUR, event, folded

H100 = "NVIDIA H100 80GB HBM3"

of_nvlink_5 = pytest.mark.parametrize(
    "row", list(nvlink5.rows()), ids=lambda row: f"{row.code}-{row.unit_v2}-{row.subcode}-{row.status}"
)


def meaning(code: int, text: str, model: str = H100) -> Meaning:
    found = happening(event(code, 0, text), model)
    assert found is not None
    return found.meaning


def line5(row: nvlink5.Row, unit: str, bits: str, link: int = 7) -> str:
    word = row.subcode << 20 | int(bits, 2)
    fatal = "Nonfatal" if row.nvidia_severity.startswith("Non-fatal") else "Fatal"
    return (
        f"NVRM: Xid (PCI:0009:01:00): {row.code}, {unit} {fatal} XC0 i0 Link {link:02} "
        f"(0x{word:08x} 0x{row.status:08x} 0x00000000 0x00000000 0x00000000 0x00000000)"
    )


def line4(*registers: int, link: int = 14) -> str:
    words = ", ".join(f"{word:#x}" for word in (*registers, *(0,) * (7 - len(registers))))
    return (
        "NVRM: Xid (PCI:0003:00:00): 74, pid='<unknown>', name=<unknown>, "
        f"NVLink: fatal error detected on link {link}({words})"
    )


@of_nvlink_5
def test_a_row_of_nvlink_5_is_met_by_its_line_of_old_and_new_drivers(row: nvlink5.Row) -> None:
    for unit in row.units:
        for bits in (row.unit_v1, row.unit_v2):
            found = meaning(row.code, line5(row, unit, bits))
            assert (found.severity, found.action) == (row.severity, row.action)
            assert f"{unit} on link 7, NVIDIA: {row.resolution}, {row.investigatory}" in found.what
    assert row.source


@of_nvlink_5
def test_a_row_of_nvlink_5_follows_from_nvidias_words(row: nvlink5.Row) -> None:
    if row.resolution == "RESET_GPU":
        assert (row.severity, row.action) == (Severity.FAILED, Action.RESET_DEVICE)
    elif row.resolution == "XID_154_EVAL":
        assert (row.severity, row.action) == (Severity.DEGRADED, Action.NONE)
    elif row.nvidia_severity == "Non-fatal":
        assert (row.resolution, row.severity, row.action) == ("IGNORE", Severity.INFO, Action.NONE)
    else:
        assert (row.resolution, row.severity) == ("IGNORE", Severity.DEGRADED)


def test_the_whole_decoding_table_is_there() -> None:
    rows = list(nvlink5.rows())
    assert len(rows) == 94
    assert {row.code for row in rows} == {*range(144, 151)}


@pytest.mark.parametrize(("code", "text", "severity"), [
    (149, "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000 0x00000000)", Severity.FAILED),
    (149, "NETIR_LINK_DOWN Fatal XC0 i0 Link 01 (0x02600011 0x00000000)", Severity.DEGRADED),
    (149, "NETIR_LINK_EVT Fatal XC 1 i 2 Link 01 [0x0000000a]", Severity.FAILED),
    (149, "NETIR_LINK_EVT Fatal XC0 i0 Link 01 (0x03f001c6 0x00000000)", Severity.FAILED),
    (144, "SAW_MVB Fatal XC0 i0 Link 00 (0x00000001 0x00000004)", Severity.FAILED),
    (145, "RLW_REMAP Nonfatal XC0 i0 Link 00 (0x00000004 0x00000300)", Severity.DEGRADED),
    (145, "RLW_REMAP Nonfatal XC0 i0 Link 00 (0x0000", Severity.DEGRADED),
    (146, "TREX Nonfatal XC0 i0 Link 00 (0x0000000e 0x00000001)", Severity.DEGRADED),
    (150, "", Severity.DEGRADED),
])
def test_a_line_that_no_row_fits_is_as_bad_as_the_driver_says(code: int, text: str, severity: Severity) -> None:
    """The second is in the table: NVIDIA ignores it although it is fatal to the link."""
    assert meaning(code, text).severity is severity


@pytest.mark.parametrize("bit", nvlink4.bits(), ids=lambda bit: f"{bit.register}-{bit.bit}")
def test_a_bit_of_xid_74_is_met_by_its_line(bit: nvlink4.Bit) -> None:
    registers = [0] * 7
    registers[bit.register] = 1 << bit.bit
    found = meaning(74, line4(*registers))
    assert (found.severity, found.action, found.role) == (bit.severity, bit.action, bit.role)
    assert found.what == f"Xid 74: NVLink error on link 14: {bit.meaning}"
    assert bit.source


@pytest.mark.parametrize(("registers", "severity", "action"), [
    ((0x00000001,), Severity.INFO, Action.NONE),
    ((0x00000001 | 1 << 8,), Severity.DEGRADED, Action.INSPECT_HARDWARE),
    ((1 << 1 | 1 << 4,), Severity.DEGRADED, Action.RESET_DEVICE),
    ((1 << 3,), Severity.DEGRADED, Action.CONTACT_VENDOR),
    ((0, 0, 0, 0, 1 << 20), Severity.INFO, Action.NONE),
    ((0, 1 << 13, 0, 0, 0, 1 << 13, 1 << 13), Severity.DEGRADED, Action.RESET_DEVICE),
    ((), Severity.DEGRADED, Action.RESET_DEVICE),
])
def test_the_worst_bit_of_the_registers_that_count_decides(
    registers: tuple[int, ...], severity: Severity, action: Action
) -> None:
    found = meaning(74, line4(*registers))
    assert (found.severity, found.action) == (severity, action)


@pytest.mark.parametrize(("text", "model"), [
    (line4(1), "NVIDIA A100-SXM4-80GB"), (line4(1), ""), ("NVLink: fatal error detected on link 14(0x0, 0x1", H100),
    ("", H100),
])
def test_xid_74_of_other_boards_and_forms_is_what_its_code_says(text: str, model: str) -> None:
    found = meaning(74, text, model)
    assert (found.what, found.severity, found.action) == (
        "Xid 74: NVLink error", Severity.DEGRADED, Action.RESET_DEVICE
    )


def test_a_bit_that_follows_on_others_is_acted_on_only_when_it_is_alone() -> None:
    alone, = folded(event(74, 0, line4(1 << 20)))
    assert alone.action is Action.CONTACT_VENDOR
    other, = folded(event(74, 0, line4(1 << 20)), event(94, 10))
    assert (other.rule, other.action) == ("xid 94", Action.RESTART_APP)


def test_an_error_that_comes_back_on_one_link_is_the_vendors_and_on_several_is_not() -> None:
    same = folded(*(event(74, n * HOUR, line4(1 << 4)) for n in range(3)))
    assert [one.action for one in same] == [Action.RESET_DEVICE] * 2 + [Action.CONTACT_VENDOR]
    assert same[-1].evidence[-1].found == "3 in 86400 s"
    others = folded(*(event(74, n * HOUR, line4(1 << 4, link=n)) for n in range(3)))
    assert {one.action for one in others} == {Action.RESET_DEVICE}


def test_a_storm_of_one_code_that_says_something_worse_later_is_that_bad() -> None:
    """The agent makes one event of all Xids 149 of a device within a minute, and sends the newest line."""
    first = event(149, 0, "NETIR_BER_EVENT Nonfatal XC0 i0 Link 02 (0x00000013 0x00000001)")
    grown = first._replace(
        many=5, last_ms=first.last_ms + 100, message="NETIR_LINK_EVT Fatal XC0 i0 Link 03 (0x021425c6 0x00000000)"
    )
    milder = grown._replace(many=6, last_ms=first.last_ms + 200, message=first.message)
    one, = folded(first, grown, milder, milder)
    assert (one.severity, one.action, one.times) == (Severity.FAILED, Action.RESET_DEVICE, 6)
    assert {each.found.split(" times")[0] for each in one.evidence} == {"2", "4"}


def test_what_nvml_gives_the_number_of_and_the_kernel_the_words_for_is_one_thing() -> None:
    number = event(149, 0, "Xid 149", source="nvml")
    words = number._replace(
        message="NETIR_LINK_EVT Fatal XC0 i0 Link 03 (0x021425c6 0x00000000)", source="kernel", seq=2
    )
    for rows in ((number, words), (number, words, number), (words, number)):
        one, = folded(*rows)
        assert (one.severity, one.times, len(one.evidence)) == (Severity.FAILED, 1, 1)


def test_a_line_of_a_link_keeps_its_role() -> None:
    assert meaning(149, "").role is Role.LINK


def test_a_line_that_is_one_endless_word_is_read_at_once() -> None:
    """From each of its characters a unit might begin: read to the end each time, it would take minutes."""
    assert nvlink5.decode(149, "A/" * 50_000) is None
