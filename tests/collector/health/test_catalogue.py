"""Every code means what the catalogue says, and no code is silently fine."""

import pytest

from fallow_collector.health.catalogue import Entry, entries, find
from fallow_collector.health.happening import happening
from fallow_collector.health.words import Action, Role, Severity
from fallow_proto.states import EventKind
from tests.collector.health.told import event

RECOVERY = "GPU recovery action changed from 0x0 (None) to {}"


@pytest.mark.parametrize(
    "entry", [*entries(EventKind.XID), *entries(EventKind.SXID)], ids=lambda entry: str(entry.code)
)
def test_an_entry_is_complete_and_consistent(entry: Entry) -> None:
    assert entry.source
    assert not (entry.immediate == "RESET_GPU" and entry.severity is Severity.INFO)
    assert not (entry.immediate == "RESTART_BM" and entry.action is not Action.RESTART_NODE)
    assert not (entry.immediate == "IGNORE" and entry.severity is Severity.FAILED)
    assert not (entry.severity is Severity.FAILED and entry.action is Action.NONE)


def test_every_xid_of_nvidias_catalogue_is_there() -> None:
    assert {entry.code for entry in entries(EventKind.XID)} == {*range(1, 173), 177, 185}


@pytest.mark.parametrize(("codes", "severity", "action"), [
    ((13, 31, 43, 11, 25, 32, 69, 80, 45), Severity.INFO, Action.RESTART_APP),
    ((8, 39, 85, 126, 135, 60, 68, 82, 86, 105, 139, 94), Severity.DEGRADED, Action.RESTART_APP),
    ((46, 48, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 158, 171, 172), Severity.FAILED, Action.RESET_DEVICE),
    ((79, 151, 167), Severity.FAILED, Action.RESTART_NODE),
    ((54,), Severity.FAILED, Action.INSPECT_HARDWARE),
    ((37, 38, 44, 63, 66, 67, 92, 93, 106, 107, 108, 121, 137, 141, 152, 153), Severity.INFO, Action.NONE),
    ((14, 160, 161, 162, 163, 164, 166, 168, 170), Severity.INFO, Action.NONE),
    ((74, 156), Severity.DEGRADED, Action.RESET_DEVICE),
    ((1, 42, 65, 78, 138, 142, 157, 159), Severity.DEGRADED, Action.CONTACT_VENDOR),
])
def test_codes_have_the_severity_and_action_of_nvidias_table(
    codes: tuple[int, ...], severity: Severity, action: Action
) -> None:
    for code in codes:
        entry = find(EventKind.XID, code)
        assert entry is not None
        assert (code, entry.severity, entry.action) == (code, severity, action)


@pytest.mark.parametrize(("kind", "code"), [
    (EventKind.XID, 999), (EventKind.XID, None), (EventKind.XID, 173), (EventKind.SXID, 1), (EventKind.DEVICE_FAULT, 7),
])
def test_a_code_that_nobody_knows_degrades_visibly_and_fails_nothing(kind: EventKind, code: int | None) -> None:
    found = happening(event(code, 0, kind=kind))
    assert found is not None
    assert (found.meaning.severity, found.meaning.action) == (Severity.DEGRADED, Action.NONE)


@pytest.mark.parametrize(("text", "severity", "action"), [
    ("0x0 (None)", Severity.INFO, Action.NONE),
    ("0x1 (GPU Reset Required)", Severity.FAILED, Action.RESET_DEVICE),
    ("0x2 (Node Reboot Required)", Severity.FAILED, Action.RESTART_NODE),
    ("0x3 (Drain P2P)", Severity.DEGRADED, Action.RESET_DEVICE),
    ("0x4 (Drain and Reset)", Severity.FAILED, Action.RESET_DEVICE),
    ("0x9 (Something New)", Severity.FAILED, Action.CONTACT_VENDOR),
])
def test_xid_154_says_what_its_text_says(text: str, severity: Severity, action: Action) -> None:
    found = happening(event(154, 0, RECOVERY.format(text)))
    assert found is not None
    assert (found.meaning.severity, found.meaning.action, found.meaning.role) == (severity, action, Role.RECOVERY)


@pytest.mark.parametrize(("code", "text", "severity"), [
    (149, "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6)", Severity.FAILED),
    (150, "MSE  Nonfatal XC0 i0 Link 01 (0x1)", Severity.DEGRADED),
    (149, "NETIR_BER_EVENT  Nonfatal XC0 i0 Link 01 (0x1)", Severity.INFO),
    (145, "", Severity.DEGRADED),
])
def test_errors_of_nvlink_5_are_as_bad_as_their_text_says(code: int, text: str, severity: Severity) -> None:
    found = happening(event(code, 0, text))
    assert found is not None
    assert found.meaning.severity is severity


@pytest.mark.parametrize(("code", "text", "severity"), [
    (20034, "Fatal, Link 30 LTSSM Fault Up", Severity.FAILED),
    (12028, "Non-fatal, Link 32 egress non-posted PRIV error (First)", Severity.DEGRADED),
    (22013, "", Severity.DEGRADED), (23005, "", Severity.FAILED), (55555, "Fatal, something", Severity.FAILED),
])
def test_the_drivers_own_word_on_a_switch_outweighs_the_table(code: int, text: str, severity: Severity) -> None:
    found = happening(event(code, 0, text, kind=EventKind.SXID))
    assert found is not None
    assert found.meaning.severity is severity


@pytest.mark.parametrize("kind", [EventKind.AGENT_STARTED, EventKind.SPOOL_DROPPED, EventKind.LEASE_EXPIRED])
def test_events_of_other_things_say_nothing_of_health(kind: EventKind) -> None:
    assert happening(event(None, 0, kind=kind)) is None


def test_a_device_off_the_bus_without_a_number_is_xid_79() -> None:
    found = happening(event(None, 0, "NVRM: GPU 0000:9b:00.0: GPU has fallen off the bus.", EventKind.KERNEL_MESSAGE))
    assert found is not None
    assert (found.meaning.severity, found.meaning.action) == (Severity.FAILED, Action.RESTART_NODE)
